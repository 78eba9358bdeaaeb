"""Quantisation: what fewer bits cost this model.

In: release/merged and release/gguf. Out: size, memory, speed, bits per byte, multiple choice and exact numbers of each form, with
intervals and the paired difference to 16 bit, a plot, a sentence of advice.
Writes: release/quant_study/. Uses: evaluation, release, model, languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, table="study", plot="study", FORMS="study")
