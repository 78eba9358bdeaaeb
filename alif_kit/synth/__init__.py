"""Synth: from seeds to a data set.

In: the language pack, a teacher. Out: seeds -> teacher -> journal -> parse -> filters -> novelty -> pool -> train and held-out
files.
`demo/` is the embedded teacher, `review/` the people who read its rows.
Writes: synth/, data/. Uses: teacher, languages, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, finish="dataset", Parsed="parse")
