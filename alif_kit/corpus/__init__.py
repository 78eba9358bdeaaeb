"""Corpus: running text for continued pretraining.

In: Wikipedia, a Hub data set, local files, the pack's sample. Out: cleaned documents with named reasons for what was dropped,
held-out documents set apart first, near duplicates gone, blocks of equal length with EOS after each document.
Writes: pretrain/corpus/, pretrain/corpus_funnel.json, pretrain/corpus_samples.jsonl, pretrain/rows/. Uses: languages, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, pretraining_rows="blocks", held_out_rows="blocks")
