"""Languages: the packs, which are data only, and all code that knows a language.

In: a folder per language (ur, pnb) of seeds, prompts, corpus, lexicon, question sets. Out: their rows, checked; normalised text,
the language of a text, the share of its own script, overlap with evaluation sets.
Writes: nothing. Uses: core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, settings="pack", normalize="text", EvaluationSets="contamination")
