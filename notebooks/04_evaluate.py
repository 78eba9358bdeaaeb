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
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/04_evaluate.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/04_evaluate.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/04_evaluate.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# کیا نیا ماڈل واقعی اپنے بنیادی ماڈل سے بہتر ہے؟ اس سبق میں دونوں سے ایک جیسے سوال، ایک
# جیسے لفظوں میں پوچھے جاتے ہیں، اور ہر عدد کے ساتھ یہ بھی لکھا ہوتا ہے کہ وہ کتنی
# مثالوں پر قائم ہے۔ ثبوت کم ہوں تو فیصلہ بھی یہی ہوتا ہے کہ ابھی کچھ کہا نہیں جا سکتا۔
# جو ماڈل کسی اہم بات میں اپنے بنیادی ماڈل سے کمزور نکلے، اسے منظوری نہیں ملتی۔
#
# </div>
#
# **What you will have:** every figure of the tuned model beside its base's, with its
# *n* and its interval; a test for each difference; the examples on which the two differ
# most; and a verdict: pass, fail, or not enough evidence.
#
# **Time, memory, cost:** one to four minutes, 2 GB of memory and $0.00 on two CPU cores
# (measured). On a free T4 about an hour for 200 examples a set (a guess). A judge, which
# is off here, costs what its endpoint asks.
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **n**: how many examples a figure stands on
# - **95 % interval**: where the true value may well be, given so few examples
# - **paired test**: both models on the same examples, so that luck cancels out
# - **gate**: the rule that fails a model which is worse than its base where it matters

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
SUITE = "quick"  # @param ["quick", "full", "paper"]
EXAMPLES = 24  # @param {type:"integer"}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Where are we?
# The same run folder as before: the banner says what it has. Without one this lesson
# begins a new run, and does what it needs from the earlier lessons if that is free.

# %%
from alif_kit import notebook, pipeline
from alif_kit.core import statistics
from alif_kit.evaluation import gate, sets
from alif_kit.report import evaluation
from alif_kit.report import page as report

changes = {"evaluation.suite": SUITE, "evaluation.max_examples": EXAMPLES}
changes |= OVERRIDES
run = notebook.start(MODE, RUN_DIR, HOURS, changes, drive=KEEP_ON_DRIVE)
notebook.catch_up(run, "evaluate")

# %% [markdown]
# ## What will be asked
# Each set is put to the base and to the tuned model in the same words, with the same
# budget, through each one's own template. One question, as a model gets it:

# %%
works, missing = sets.gather(run)
lines = []
for work in works:
    rows = work.items or work.documents or work.task.get("rows", ())
    lines += [(work.name, len(rows) or "as its task has")]
notebook.rows(["set", "examples"], lines)
print("not to be had here:", "; ".join(missing) or "nothing")
item = next(w.items[0] for w in works if w.name == "knowledge_ur")
notebook.urdu(f"{item.prompt}\n\n[{item.expected}]")

# %% [markdown]
# ## Measure
# Rows are kept as they come: a killed evaluation goes on where it was. A star means that
# the 95 % interval of the difference excludes zero.

# %%
results = pipeline.evaluate(run)
notebook.rows(*evaluation.short_table(run))

# %% [markdown]
# ## How sure is that?
# A share of few examples says little: the interval is what the truth may be. And a
# difference is tested on the *same* examples, which shows more than two intervals do.

# %%
lines = []
for right, n in ((6, 10), (60, 100), (600, 1000)):
    found = statistics.wilson(right, n)
    between = f"{found.low:.1%} to {found.high:.1%}"
    least = statistics.smallest_difference(n, 0.3)
    lines += [(f"{right} of {n}", between, f"{least:.1%}")]
notebook.rows(["right", "95 % interval", "smallest difference that shows"], lines)
notebook.show(evaluation.difference_plot(results))

# %% [markdown]
# ## The gate
# It fails a model that is worse than its base beyond a margin, and it does not pass one
# without evidence. On few examples expect *undecided* or *fail*.

# %%
verdict = gate.check(run, results)
lines = [(f["verdict"], f["guard"], f["sentence"]) for f in verdict["findings"]]
notebook.rows(["finding", "guard", "in words"], lines)
print("verdict:", verdict["verdict"])

# %% [markdown]
# ## Where they differ
# Figures hide what people will see. One answer that got better, one that got worse.

# %%
differing = evaluation.differing(run, 1)
names = ("prompt", "base_answer", "answer")
lines = [(way, *(e[n] for n in names)) for way in differing for e in differing[way]]
notebook.rows(["it got", "asked", "base", "tuned"], lines)

# %% [markdown]
# ## Check
# These sentences must be true, or the figures are not worth reading.

# %%
asked = ("response_loss", "word_problems", "yes_no", "knowledge_ur", "knowledge_en")
figures = [m["values"] for m in results["measures"] if m["key"] in asked]
same = [v["base"]["n"] == v["finetune"]["n"] for v in figures]
assert len(same) == len(asked), "a set of the quick suite was not measured"
assert all(same), "base and tuned model were not asked the same questions"
doubts = [f for f in verdict["findings"] if f["verdict"] != "pass"]
passed = verdict["verdict"] == "pass"
assert passed != bool(doubts), "the verdict does not follow from its findings"
print("same questions for both, and a verdict that follows; see", report.build(run))

# %% [markdown]
# ## What you have now
# `evaluation/` holds every answer, `results.json` and `gate.json`; the report shows them
# on one page. A pass takes thousands of examples: `SUITE = "full"` and patience.
#
# Next: [05 · Release](05_release.ipynb) makes something of it that people use.
