"""Report: report.html, one page without outside resources, and the tables that the terminal and the cards share with it.

In: whatever a run folder holds. Out: funnel, curves, evaluation beside the base, samples right to left, ledger, release.
Writes: report.html. Uses: quantisation, training, languages, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, build="page", stages="page", comparison="evaluation")
