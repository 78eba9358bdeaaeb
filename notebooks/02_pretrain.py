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
# # 02 · Pretrain: let the base read Urdu
#
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/02_pretrain.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/02_pretrain.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/02_pretrain.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# اس سبق میں بنیادی ماڈل رواں اردو تحریریں پڑھتا ہے تاکہ زبان سے مانوس ہو جائے۔ بیچ
# بیچ میں کچھ انگریزی بھی رکھی جاتی ہے تاکہ ماڈل اسے بھول نہ جائے۔ پڑھائی سے پہلے اور
# بعد میں ایسی تحریروں پر جانچ ہوتی ہے جو ماڈل نے کبھی نہیں دیکھیں۔ کام بیچ میں رک جائے
# تو یہی سبق دوبارہ چلائیے؛ وہیں سے آگے بڑھے گا جہاں رکا تھا۔
#
# </div>
#
# **What you will have:** an adapter that has read running Urdu text, with English among
# it so that English is not forgotten, and held-out bits per byte before and after.
#
# **Time, memory, cost:** two minutes, 2 GB of memory and $0.00 on two CPU cores with the
# pack's sample corpus (measured). On a T4 the plan below says memory, hours and how many
# Urdu words they buy before anything loads; $0.00 on a free one.
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **continued pretraining**: a trained model goes on reading, in another language
# - **token**: the piece of text that a model reads at a time
# - **checkpoint**: all that training needs to go on after a stop
# - **replay**: old material, here English, that keeps what is known from being lost

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
SOURCE = ""  # @param ["", "pack", "wikipedia"] {allow-input: true}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Where are we?
# The same run folder as before: the banner says what it has. Without one this lesson
# begins a new run, and does what it needs from the earlier lessons if that is free.

# %%
import pandas

from alif_kit import notebook
from alif_kit.core import config
from alif_kit.corpus import prepare
from alif_kit.evaluation import metrics
from alif_kit.evaluation.generate import text_nll
from alif_kit.languages.held_out import held_out
from alif_kit.planner import bases, budget, cards
from alif_kit.platforms import machine
from alif_kit.report import page as report
from alif_kit.training import trainer

changes = {"corpus.source": SOURCE or None, **OVERRIDES}
run = notebook.start(MODE, RUN_DIR, HOURS, changes, drive=KEEP_ON_DRIVE)

# %% [markdown]
# ## What a word costs
# Each base cuts Urdu into tokens of its own. A base that needs half the tokens reads
# twice the Urdu in an hour: count words, not tokens.

# %%
card, why = cards.card_here(machine.detect().gpu)
known = [b for b in bases.known_bases().values() if b.fertility]
speed = [cards.between(cards.words_per_hour(b, card), card.slowest(b)) for b in known]
lines = sorted((b.fertility, b.name, hour) for b, hour in zip(known, speed))
per_hour = f"Urdu words an hour on {card.name} (rough)"
notebook.rows(["tokens per Urdu word", "base", per_hour], lines)

# %% [markdown]
# ## The plan
# Memory by part, speed and what the hours buy, before anything loads. Here for the `t4`
# preset on the card above; a plan that does not fit is refused, naming what does.

# %%
preset = config.load("t4")
shape = bases.find(preset.base.model)
plan = budget.plan(preset, card, shape, hours=HOURS or 12.0)
print(f"{plan.peak_vram_gib:.1f} GiB at the peak, {plan.offered_gib:.1f} offered")
print(f"{plan.speed}, {cards.between(plan.steps, plan.slowest)} steps")
notebook.rows(["memory for", "GiB"], [(k, f"{v:.2f}") for k, v in plan.parts.items()])

# %% [markdown]
# ## The corpus, before and after cleaning
# Every document is kept or dropped for a named reason; held-out ones are set apart
# first, so that nothing near them is trained on.

# %%
funnel = prepare.prepare(run)
columns = ["documents_read", "documents_train", "documents_held_out", "retention"]
notebook.table(pandas.DataFrame(funnel).T[columns])
dropped = pandas.DataFrame({side: row["dropped"] for side, row in funnel.items()})
notebook.table(dropped[dropped.any(axis=1)].rename_axis("dropped because"))
page = report.changed_pages(run, 2)
notebook.show(page or "<p>Nothing had to be mended in these pages.</p>")

# %% [markdown]
# ## Held-out bits per byte, before
# Bits per byte of text it has never seen: comparable between bases, where the loss per
# token is not, because tokens differ in length.

# %%
loaded, window = trainer.load_base(run.config), run.config.base.max_seq_length
texts = {of: [d.text for d in held_out(run, of)][:20] for of in ("ur", "en")}
size = {of: sum(len(t.encode()) for t in texts[of]) for of in texts}
nats = {of: sum(text_nll(loaded, t, window) for t in texts[of]) for of in texts}
before = {of: metrics.bits_per_byte(nats[of], size[of]) for of in texts}
notebook.urdu(texts["ur"][0][:300])
notebook.rows(["language", "bits per byte, base"], before.items())

# %% [markdown]
# ## Read
# Stop the cell, close the session, come back on another machine: running it again goes
# on from the last checkpoint, with the same losses as if nothing had happened.

# %%
summary = trainer.pretrain(run)
notebook.show(report.loss_plot(run))

# %% [markdown]
# ## Held-out bits per byte, after
# The same documents through the adapter. Urdu should have become easier; English should
# have stayed about where it was.

# %%
base = trainer.base_path(run.config)
loaded = trainer.seam.load(run.config.base, base, run.file("pretrain", "adapter"))
nats = {of: sum(text_nll(loaded, t, window) for t in texts[of]) for of in texts}
after = {of: metrics.bits_per_byte(nats[of], size[of]) for of in texts}
lines = [(of, before[of], after[of], after[of] - before[of]) for of in texts]
notebook.rows(["language", "before", "after", "change"], lines)

# %% [markdown]
# ## Check
# These sentences must be true, or the adapter is not worth going on with.

# %%
assert after["ur"] < before["ur"], "held-out Urdu did not get easier"
again = trainer.pretrain(run)
assert again == summary, "a finished stage was done again"
assert run.file("pretrain", "metrics.csv").is_file(), "there is no record of the losses"
print(f"Urdu {before['ur']:.3f} to {after['ur']:.3f} bits per byte, done once")

# %% [markdown]
# ## What you have now
# `pretrain/adapter/`, `pretrain/metrics.csv`, and the clean corpus in `pretrain/corpus/`.
#
# Next: [03 · Fine-tune](03_finetune.ipynb) teaches it to answer, in the same run folder.
