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
# # 01 · Generate: from hand-written seeds to a data set
#
# **What you will have:** instruction data in seven categories, each row with where it
# came from, a funnel that accounts for every candidate, a held-out split, and a card.
#
# **Time, memory, cost:** the demonstration takes under a minute, 1 GB and $0.00. With a
# real teacher the estimate below says what it will cost before anything is sent.

# %% tags=["parameters"]
RUN_DIR = "runs/generate"
PRESET = "smoke"
TEACHER = "demo"  # "demo", "paid" (any API) or "local" (Ollama on this machine)
OVERRIDES = {}

# %%
from pathlib import Path

import pandas
from IPython.display import HTML, display

from alif_kit import config, pack, pipeline, report
from alif_kit.run_folder import Run
from alif_kit.synth import dataset, estimate, planner, review
from alif_kit.synth.split import payloads

# %% [markdown]
# ## Which teacher?
# `demo` fills templates and shows the mechanics. `paid` is any endpoint of the OpenAI
# protocol; its key comes from the environment or the platform's secret store.
# `local` is free: `ollama serve`, `ollama pull gemma3:12b`, and patience.

# %%
free = {"teacher.usd_per_million_input": 0, "teacher.usd_per_million_output": 0}
ollama = {"teacher.base_url": "http://localhost:11434/v1", "teacher.key_name": ""}
ollama |= {"teacher.model": "gemma3:12b", "synth.tasks_per_call": 5, **free}
openai = "https://api.openai.com/v1"
paid = {"teacher.base_url": openai, "teacher.model": "gpt-4.1-mini"}
chosen = {"demo": {}, "paid": paid, "local": ollama}[TEACHER]

# %%
settings = config.load(PRESET, {**chosen, **OVERRIDES})
run = Run.open(RUN_DIR, settings)
settings.synth.targets

# %% [markdown]
# ## Seeds, and what the teacher sees
# Four seeds go into every request, and two machine-made tasks once there are some.
# Topics, registers and regions are drawn anew each time, so that tasks spread out.

# %%
request = planner.compose(settings, 0, "reasoning", [])
page = '<div dir="rtl" lang="ur" style="font-family:Noto Nastaliq Urdu,serif;'
page += 'line-height:2.2;white-space:pre-wrap;max-height:30em;overflow:auto">{}</div>'
display(HTML(page.format(request.messages[-1]["content"])))

# %%
{category: len(seeds) for category, seeds in pack.seeds(settings.language).items()}

# %% [markdown]
# ## What it will cost
# Before the first request: from assumptions. Run this cell again later: from what the
# run has seen.

# %%
foreseen = estimate.estimate(settings, run)
pandas.Series(foreseen.lines(settings.teacher.max_usd), name="estimate").to_frame()

# %% [markdown]
# ## Generate
# Each answer is written to `synth/journal.jsonl` and synced to disk before it is read.
# Stop this cell whenever you like: running it again goes on and pays for nothing twice.

# %%
counts = pipeline.make_data(run)
pandas.DataFrame(counts)

# %% [markdown]
# ## What became of the candidates
# Every one is accepted or has a named reason.

# %%
funnel = report.latest_json(run.file("synth", "funnel.json"))
display(HTML(report.funnel_plot(funnel)))

# %% [markdown]
# ## Dropped rows, by reason
# Read some before you trust a filter. `alif synth rebuild` judges all answers again,
# by another threshold if you like, at no cost.

# %%
dropped = pandas.read_json(run.file("synth", "dropped.jsonl"), lines=True)
rows = dropped.groupby("reason").head(2) if len(dropped) else dropped
rows.reindex(columns=["reason", "category", "text"])

# %% [markdown]
# ## Review
# People have the last word. A sheet of a stratified sample goes out as a spreadsheet,
# right to left; `review.take(run, path)` brings the decisions back.
# `alif review app` does the same on a page, one example at a time.

# %%
sheet = Path(RUN_DIR) / "review.csv"
sheet.unlink(missing_ok=True)
review.export(run, sheet, 14)
pandas.read_csv(sheet)[["category", "flags", "instruction", "output"]].head(7)

# %% [markdown]
# ## Split, statistics and card
# The held-out part takes a share of every category, and nothing in it is a near copy of
# something in training.

# %%
counts = dataset.finish(run)
pandas.DataFrame(dataset.statistics(run)).set_index("category")

# %%
print(run.file("data", "card.md").read_text()[:1500])

# %% [markdown]
# ## Check
# These sentences must be true, or the data is not worth training on.

# %%
funnel = report.latest_json(run.file("synth", "funnel.json"))
kept = {c: n for c, n in funnel["categories"].items()}
assert sum(funnel["reasons"].values()) == funnel["candidates"], "a candidate is lost"
for category, wanted in settings.synth.targets.items():
    assert kept[category]["accepted"] == wanted, f"{category} is short of its target"
train, held = dataset.read(run)
seen = {tuple(p) for example in train for p in payloads(example)}
assert not any(tuple(p) in seen for e in held for p in payloads(e)), "a text leaks"
print(len(train), "to train on,", len(held), "held out, nothing lost, nothing leaked")

# %% [markdown]
# ## What you have now
# `data/train.jsonl`, `data/eval.jsonl` and `data/card.md`; in `data/hub/` the same as
# Parquet, which `alif synth finish --push OWNER/NAME` sends to the Hub, private.
