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
# # 03 · Fine-tune: teach it to answer
#
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/03_finetune.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/03_finetune.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/03_finetune.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# پڑھ لینے کے بعد ماڈل اس سبق میں جواب دینا سیکھتا ہے۔ صرف جواب سیکھا جاتا ہے، سوال
# نہیں، تاکہ ماڈل پوچھنے کے بجائے بتانا سیکھے۔ آخر میں آپ اس کے کچھ جواب خود پڑھیں گے،
# ایسے سوالوں پر جو اس نے پہلے نہیں دیکھے۔ چھوٹے پیمانے پر خرچ صفر ہے اور چند منٹ لگتے
# ہیں۔
#
# </div>
#
# **What you will have:** an adapter that answers Urdu and English instructions, trained
# on the answers only, and some of its answers to read.
#
# **Time, memory, cost:** three minutes, 2 GB of memory and $0.00 on two CPU cores,
# earlier lessons included if the run folder has none (measured). On a free T4 about half
# an hour for 5,000 examples with a base of four billion parameters, 7 GB (planned).
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **instruction**: a question or a task, with its answer
# - **chat template**: the marks by which a model knows who speaks
# - **masked**: read by the model, but left out of the loss
# - **EOS**: the token by which an answer ends; a model that never learnt it talks on

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
SOURCES = {"own": 0}  # @param {type:"raw"}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Where are we?
# The same run folder as before: the banner says what it has. Without one this lesson
# begins a new run, and does what it needs from the earlier lessons if that is free.

# %%
import pandas

from alif_kit import notebook
from alif_kit.core.records import Example, read_jsonl
from alif_kit.evaluation.generate import answer_all
from alif_kit.model import unsloth
from alif_kit.model.chat_format import prompt_text, response_markers
from alif_kit.report import page as report
from alif_kit.training import mixture, show, trainer

changes = {"mixture.sources": SOURCES, **OVERRIDES}
run = notebook.start(MODE, RUN_DIR, HOURS, changes, drive=KEEP_ON_DRIVE)
notebook.catch_up(run, "finetune")

# %% [markdown]
# ## The mixture
# `own` is the data of lesson 01; 0 takes all its rows. `seeds` are the language pack's
# hand-written tasks. More sources stand in `training/mixture.toml`. Each is named, capped
# and checked against the evaluation sets.

# %%
tokenizer = trainer.load_base(run.config).tokenizer
rows, mixed = mixture.finetuning_rows(run, tokenizer)
notebook.show(show.budget_plot(mixed))

# %% [markdown]
# ## One example, as the model sees it
# Only the coloured part is learnt: the answer and the token that ends it. The rest is
# read as context. If the whole were coloured, the model would learn to ask.

# %%
user, answer = response_markers(tokenizer, run.config.base.chat_format)
labels = unsloth.labels_of(rows[0], tokenizer, user, answer)
notebook.show(show.to_html(show.masked_example(rows[0], labels, tokenizer)))

# %% [markdown]
# ## Train
# Checks come first: one BOS, an end that is learnt, nothing cut, the right weights.
# Then it trains, and goes on where it was if the session dies.

# %%
summary = trainer.finetune(run)
notebook.show(report.loss_plot(run))

# %% [markdown]
# ## Talk to it
# Held-out tasks it has never seen, with what it says. In the smallest size the base is a
# toy: expect the manner of an answer, not its truth.

# %%
adapter, base = run.file("finetune", "adapter"), trainer.base_path(run.config)
loaded = unsloth.load(run.config.base, base, adapter)
tasks = list(read_jsonl(run.file("data", "eval.jsonl"), Example))[:5]
frame = run.config.base.chat_format
prompts = [prompt_text(t, loaded.tokenizer, frame) for t in tasks]
answers = answer_all(loaded, prompts, run.config.evaluation.max_new_tokens, 5)
lines = [(t.category, t.instruction, said.text) for t, said in zip(tasks, answers)]
notebook.rows(["category", "instruction", "answer"], lines)

# %% [markdown]
# ## Check
# These sentences must be true, or the adapter is not worth evaluating.

# %%
assert summary["loss_share"] < 1, "the prompts are learnt too"
assert any(said.stopped for said in answers), "no answer ends by itself"
losses = pandas.read_csv(run.file("finetune", "metrics.csv")).loss
fell = losses.tail(5).mean() < losses.head(5).mean()
assert fell, "the loss did not fall"
print(f"{summary['loss_share']:.0%} of the tokens learnt, answers end, the loss fell")

# %% [markdown]
# ## What you have now
# `finetune/adapter/`, `finetune/metrics.csv` and `finetune/mixture.json`.
#
# Next: [04 · Evaluate](04_evaluate.ipynb) asks whether it is better than its base.
