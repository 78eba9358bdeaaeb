"""Chat: to talk with a model, in the terminal, on a page, or over the OpenAI protocol.

In: weights, an adapter, a GGUF, an endpoint, the run's verdict. Out: answers in pieces, flagged answers for the next round.
Writes: release/flagged.jsonl. Uses: release, model, languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, choose="speakers", Wishes="talk", Speaker="speech")
