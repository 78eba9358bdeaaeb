"""Training: the two stages, continued pretraining and fine-tuning on answers.

In: blocks of the corpus, data/train.jsonl and the mixture's sources. Out: an adapter per stage, resumable at any step, on one card
or several, with metrics and the plan beside what was measured.
Writes: pretrain/, finetune/. Uses: fitting, planner, corpus, model, languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, pretrain="trainer", finetune="trainer", launch="parallel")
