"""Fitting: a base with a vocabulary that fits its languages.

In: a base of safetensors, texts of the languages (the packs', a run's). Out: an ordinary checkpoint folder, its ids renumbered,
with fit.json and a card. A T4 has no room for the vocabulary of all languages; for that of two it has.
Writes: the folder that `alif fit` names. Uses: model, languages, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, fit="make")
