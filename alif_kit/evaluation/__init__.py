"""Evaluation: the base, the model after pretraining and after fine-tuning, on the same data, budget and parser.

In: held-out tasks and documents, the pack's question sets, public task lists, models or endpoints. Out: every figure with its n and
interval beside the base's, paired tests, the gate's verdict.
Writes: evaluation/. Uses: model, corpus, teacher (the judge), languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, check="gate", bits_per_byte="metrics", gather="sets")
