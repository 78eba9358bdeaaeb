"""Model: the seam to Unsloth, chat formats, and the bases that need no hub.

In: a base's name, a configuration, conversations. Out: a loaded model and tokenizer, an adapter on top, texts in the model's own
frame with markers of what is learnt. `unsloth.py` is the only file that imports unsloth.
Writes: the cache of built bases. Uses: languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, Loaded="unsloth", load="unsloth", resolve="without_hub")
