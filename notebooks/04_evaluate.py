# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: accelerator,colab,kaggle
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kaggle:
#     accelerator: nvidiaTeslaT4
#     isGpuEnabled: true
#     isInternetEnabled: true
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Evaluate: is it better than its base?
#
# **What you will have:** every figure of the tuned model beside its base's, with its
# *n* and its interval, a paired test for each difference, the examples on which the
# two differ most, and a verdict: pass, fail, or not enough evidence.
#
# **Cost:** about 4 minutes and 2 GB of memory in this size, $0.00. On a T4, about an
# hour for 200 examples a set. The judge costs what its endpoint asks; it is off here.

# %% tags=["parameters"]
RUN_DIR = "runs/quickstart"
PRESET = "smoke"
OVERRIDES = {}
SUITE = "quick"
EXAMPLES = 24

# %% [markdown]
# ## The run
# Training has to come first. If notebook 03 has left an adapter in this folder, the
# next cells find it; if not, they make one.

# %%
from IPython.display import HTML, display

from alif_kit import config, evaluation_report, pipeline, report
from alif_kit import statistics
from alif_kit.evaluation import gate, sets
from alif_kit.run_folder import Run
from alif_kit.training import trainer

wanted = {"evaluation.suite": SUITE, "evaluation.max_examples": EXAMPLES}
run = Run.open(RUN_DIR, config.load(PRESET, {**OVERRIDES, **wanted}))
pipeline.make_data(run)
trainer.pretrain(run)
print(trainer.finetune(run))

# %% [markdown]
# ## What will be asked
# Each set is put to the base and to the tuned model in the same words, with the same
# budget, through each one's own template. One question, as a model gets it:

# %%
works, missing = sets.gather(run)
for work in works:
    print(f"{work.name:<22}{len(work.items) or len(work.documents) or 'lm-eval':>8}")
print("not to be had:", missing or "nothing")

# %%
by_name = {work.name: work for work in works}
item = by_name["knowledge_ur"].items[0]
page = '<div dir="rtl" lang="ur" style="font-family:Noto Nastaliq Urdu,serif;'
page += 'line-height:2.2;white-space:pre-wrap">{}</div>'
display(HTML(report.escaped(page, item.prompt)))
print("expected:", item.expected)

# %% [markdown]
# ## Measure
# Rows are kept as they come: a killed evaluation goes on where it was.

# %%
results = pipeline.evaluate(run)
header, rows = evaluation_report.short_table(run)
for row in rows:
    print(f"{row[0]:<36} n={row[1]:<5} base {row[2]:>7} tuned {row[-2]:>7} {row[-1]}")

# %% [markdown]
# ## How sure is that?
# A share of few examples says little: the interval is what the truth may be. And a
# difference is tested on the *same* examples, which shows more than two intervals do.

# %%
for right, n in ((6, 10), (60, 100), (600, 1000)):
    estimate = statistics.wilson(right, n)
    print(f"{right:>4} of {n:<5} {estimate.low:.1%} to {estimate.high:.1%}")
print("with 24 pairs a difference shows from", end=" ")
print(f"{statistics.smallest_difference(24, 0.3):.0%} on; with 2,000 from", end=" ")
print(f"{statistics.smallest_difference(2000, 0.3):.1%}")

# %%
display(HTML(evaluation_report.difference_plot(results)))

# %% [markdown]
# ## The gate
# It fails a model that is worse than its base beyond a margin, and it does not pass one
# without evidence. In this size it should say *undecided* or *fail*, never *pass*.

# %%
verdict = gate.check(run, results)
print("verdict:", verdict["verdict"])
for finding in verdict["findings"]:
    print(f"{finding['verdict']:<10}{finding['sentence']}")

# %% [markdown]
# ## Where they differ
# Figures hide what people will see. One answer that got better, one that got worse.

# %%
differing = evaluation_report.differing(run, 1)
for way, examples in differing.items():
    for example in examples:
        texts = (way, example["prompt"], example["base_answer"], example["answer"])
        page = "<b>{}</b><div dir=auto>{}</div><div dir=auto>base: {}</div>"
        page += "<div dir=auto>tuned: {}</div><hr>"
        display(HTML(report.escaped(page, *texts)))

# %% [markdown]
# ## Check
# These sentences must be true, or the figures are not worth reading.

# %%
asked = ("response_loss", "word_problems", "yes_no", "knowledge_ur", "knowledge_en")
figures = [m["values"] for m in results["measures"] if m["key"] in asked]
same = [v["base"]["n"] == v["finetune"]["n"] for v in figures]
assert len(same) == len(asked) and all(same), "not the same questions"
assert verdict["verdict"] != "pass", "a toy on few examples cannot pass"
print("same questions for both, and no pass without evidence")

# %% [markdown]
# ## What you have now
# `evaluation/` holds every answer, `results.json` and `gate.json`; the report shows
# them. Next: notebook 05, which merges the adapter and makes a chat page of it.

# %%
print(report.build(run))
