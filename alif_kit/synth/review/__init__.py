"""Review: people accept, edit or reject rows, on a page or in a sheet.

In: the pool. Out: decisions by reviewer and how far they agree; an edited row passes the filters again, the original is kept.
Writes: synth/review.jsonl, sheets. Uses: synth's filters, languages, core.
"""
