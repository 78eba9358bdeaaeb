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
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/01_generate.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/01_generate.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/01_generate.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# اس سبق میں استاد ماڈل ہاتھ سے لکھے نمونے دیکھ کر نئے سوال جواب لکھتا ہے۔ ہر جواب
# پرکھا جاتا ہے: جو رکھا گیا وہ بھی گنا جاتا ہے اور جو چھوڑا گیا اس کی وجہ بھی لکھی
# جاتی ہے۔ آزمائشی استاد مفت ہے؛ اصلی استاد سے کام لینا ہو تو خرچ کا اندازہ پہلے بتا
# دیا جاتا ہے۔ آخر میں آپ کے پاس تربیت کا ڈیٹا ہوگا، اور اس سے الگ رکھا ہوا جانچ کا
# حصہ بھی۔
#
# </div>
#
# **What you will have:** instruction data in seven categories, each row with where it
# came from; a funnel that accounts for every candidate; a held-out part; a card.
#
# **Time, memory, cost:** under a minute, 1 GB of memory and $0.00 with the demonstration
# teacher (measured). With a real teacher the estimate below gives requests, minutes and
# dollars before anything is sent. No GPU is used.
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **seed**: a task written by hand that shows the teacher what is wanted
# - **candidate**: a task that the teacher wrote, before anything has judged it
# - **novelty**: how unlike it is to all that was kept (ROUGE-L against every kept task)
# - **held out**: kept away from training, so that it can be used to measure

# %% tags=["install"]
# @title Install: about a minute; run it again after a disconnect
import importlib.metadata, os, pathlib, subprocess, sys
KIT = "git+https://github.com/OWNER/alif_kit@v0.1.0"  # make publish-as
os.environ["GIT_TERMINAL_PROMPT"], here = "0", pathlib.Path.cwd()
checkout = [p for p in (here, *here.parents) if (p / "alif_kit/platforms").is_dir()]
sys.path[:0] = map(str, checkout[:1])  # inside a checkout, the checkout
wheels = here.parent.glob("input/**/alif_kit-*.whl")  # of an attached Kaggle data set
source = [["-e", str(p)] for p in checkout] + [[str(p)] for p in wheels] + [[KIT]]
pip = [sys.executable, "-m", "pip", "install", "--no-deps", *source[0]]
there = any(importlib.metadata.distributions(name="alif-kit"))
if not there and subprocess.run(pip, capture_output=True).returncode:
    say = "alif_kit cannot be fetched: on Kaggle switch on Settings, Internet, or"
    sys.exit(f"{say} attach its wheel; elsewhere, is {KIT} a published repository?")
from alif_kit.platforms import install
install.into_image()

# %% tags=["parameters"]
MODE = "auto"  # @param ["auto", "smoke", "t4"]
RUN_DIR = "urdu-assistant"  # @param {type:"string"}
HOURS = 0.0  # @param {type:"number"}
KEEP_ON_DRIVE = False  # @param {type:"boolean"}
TEACHER = "demo"  # @param ["demo", "paid", "local"]
EXAMPLES = 300  # @param {type:"integer"}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Which teacher?
# `demo` fills templates, costs nothing and shows the mechanics. `paid` is any endpoint of
# the OpenAI protocol; its key comes from the platform's secret store, never from a cell.
# `local` is free and slow: `ollama serve`, `ollama pull gemma3:12b`, and patience.

# %%
from alif_kit import notebook, pipeline
from alif_kit.core import config
from alif_kit.languages import pack
from alif_kit.report import page as report
from alif_kit.synth import dataset, estimate, planner
from alif_kit.synth.review import decisions
from alif_kit.synth.split import payloads

free = {"usd_per_million_input": 0, "usd_per_million_output": 0, "key_name": ""}
openai = {"base_url": "https://api.openai.com/v1", "model": "gpt-4.1-mini"}
ollama = {"base_url": "http://localhost:11434/v1", "model": "gemma3:12b", **free}
demo = {"base_url": "demo", "model": "alif-demo-teacher", "output_format": "text"}
demo |= {"key_name": "", "max_usd": 0.0}
chosen = {"demo": demo, "paid": openai, "local": ollama}[TEACHER]

# %% [markdown]
# ## Where are we?
# `EXAMPLES` are spread over the categories as in the Alif paper, which has 51,686. A run
# that has begun keeps its teacher and its number: another one needs another `RUN_DIR`.

# %%
changes = {f"teacher.{name}": value for name, value in chosen.items()}
size = {"synth.targets": config.targets_of(EXAMPLES), "synth.tasks_per_call": 10}
changes |= {**size, "synth.held_out_share": 0.15, **OVERRIDES}
run = notebook.start(MODE, RUN_DIR, HOURS, changes, drive=KEEP_ON_DRIVE)
notebook.rows(["category", "wanted"], run.config.synth.targets.items())

# %% [markdown]
# ## What the teacher sees
# Four seeds go into every request, and two machine-made tasks once there are some.
# Topics, registers and regions are drawn anew each time, so that tasks spread out.

# %%
request = planner.compose(run.config, 0, "reasoning", [])
notebook.urdu(request.messages[-1]["content"])

# %% [markdown]
# ## What it will cost
# Before the first request: from assumptions. Run this cell again later: from what the
# run has seen. Generation stops before `teacher.max_usd` would be passed.

# %%
foreseen = estimate.estimate(run.config, run)
lines = foreseen.lines(run.config.teacher.max_usd)
notebook.rows(["what", "estimate"], lines.items())

# %% [markdown]
# ## Generate
# Each answer is written to `synth/journal.jsonl` and synced to disk before it is read.
# Stop this cell whenever you like: running it again goes on and pays for nothing twice.

# %%
counts = pipeline.generate(run)
example = report.sample_examples(run, 3)[-1]
notebook.urdu(f"{example.instruction}\n{example.input}\n\n{example.output}")

# %% [markdown]
# ## What became of the candidates
# Every one is accepted or has a named reason. Read some of the dropped ones before you
# trust a filter: `alif synth rebuild` judges all answers again, at no cost.

# %%
import pandas

funnel = report.latest_json(run.file("synth", "funnel.json"))
notebook.show(report.funnel_plot(funnel))
dropped = pandas.read_json(run.file("synth", "dropped.jsonl"), lines=True)
columns = ["reason", "category", "text"]
some = dropped.groupby("reason").head(1) if len(dropped) else dropped
notebook.table(some.reindex(columns=columns).set_index("reason"))

# %% [markdown]
# ## Review
# People have the last word. A sheet of a stratified sample goes out as a spreadsheet,
# right to left; `review.take(run, path)` brings the decisions back.
# `alif review app` does the same on a page, one example at a time.

# %%
sheet = run.file("review.csv")
sheet.unlink(missing_ok=True)
decisions.export(run, sheet, 14)
columns = ["category", "flags", "instruction", "output"]
notebook.table(pandas.read_csv(sheet)[columns].head(4).set_index("category"))

# %% [markdown]
# ## Split, statistics and card
# The held-out part takes a share of every category, and nothing in it is a near copy of
# something in training. The card says all this to whoever gets the data.

# %%
counts = dataset.finish(run)
notebook.table(pandas.DataFrame(dataset.statistics(run)).set_index("category"))
notebook.card(run.file("data", "card.md"))

# %% [markdown]
# ## Check
# These sentences must be true, or the data is not worth training on.

# %%
funnel = report.latest_json(run.file("synth", "funnel.json"))
accounted = sum(funnel["reasons"].values())
assert accounted == funnel["candidates"], "a candidate is neither kept nor dropped"
for category, wanted in run.config.synth.targets.items():
    got = funnel["categories"][category]["accepted"]
    assert got == wanted, f"{category} has {got} of {wanted}"
train, held = dataset.read(run)
seen = {tuple(p) for example in train for p in payloads(example)}
leaks = [p for example in held for p in payloads(example) if tuple(p) in seen]
assert not leaks, f"{len(leaks)} held-out texts are also trained on"
print(len(train), "to train on,", len(held), "held out, nothing lost, nothing leaked")

# %% [markdown]
# ## What you have now
# `data/train.jsonl`, `data/eval.jsonl` and `data/card.md`; in `data/hub/` the same as
# Parquet, which `alif synth finish --push OWNER/NAME` sends to the Hub, private.
#
# Next: [02 · Pretrain](02_pretrain.ipynb), in the same run folder.
