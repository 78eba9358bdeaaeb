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
# # 00 · Quickstart: the whole path, once, in small
#
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/00_quickstart.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/00_quickstart.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/00_quickstart.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# یہ سبق پورا راستہ ایک بار، چھوٹے پیمانے پر طے کرتا ہے: ہاتھ سے لکھے نمونوں سے
# ڈیٹا بنتا ہے، بنیادی ماڈل اردو پڑھتا ہے، پھر جواب دینا سیکھتا ہے، اور آخر میں جانچا
# جاتا ہے کہ وہ پہلے سے بہتر ہوا یا نہیں۔ نہ کوئی پیسہ خرچ ہوتا ہے، نہ کسی خفیہ کلید
# کی ضرورت ہے۔ سب سے چھوٹے پیمانے پر یہ ماڈل محض ایک کھلونا ہے: اس کے جواب کا ڈھنگ
# دیکھیے، بات پر بھروسا نہ کیجیے۔
#
# </div>
#
# **What you will have:** a data set made by a teacher, a base that has read Urdu, an
# adapter that has learnt to answer, a verdict that compares it with its base, and an
# answer to a question of yours.
#
# **Time, memory, cost:** 2 to 4 minutes, 2 GB of memory and $0.00 on two CPU cores
# (measured). On a free T4 about 15 minutes, 4 GB of its memory and $0.00 with a base of
# one billion parameters (planned). No key is needed.
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **base**: the open model you start from; **adapter**: the small file that changes it
# - **teacher**: the model that writes the tasks and answers you train on
# - **held out**: kept away from training, so that it can be used to measure
# - **bits per byte**: how hard a text is for a model to foresee; lower is better

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
MODE = "auto"  # @param ["auto", "smoke", "quick"]
RUN_DIR = "quickstart"  # @param {type:"string"}
HOURS = 0.0  # @param {type:"number"}
KEEP_ON_DRIVE = False  # @param {type:"boolean"}
QUESTION = "پاکستان کا دارالحکومت کون سا شہر ہے؟"  # @param {type:"string"}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Where are we?
# Kaggle, Colab or your own machine; which card; what the run folder has already. If
# something should be switched, the banner says where to click.

# %%
from alif_kit import notebook, pipeline
from alif_kit.languages import pack
from alif_kit.report import evaluation
from alif_kit.report import page as report
from alif_kit.training import trainer

where = {"drive": KEEP_ON_DRIVE, "on_gpu": "quick"}
run = notebook.start(MODE, RUN_DIR, HOURS, OVERRIDES, **where)

# %% [markdown]
# ## One run, one folder
# Every stage reads files of this folder and writes files into it. A session may end at
# any time: run the notebook again and each stage goes on, or is skipped if it is done.

# %% [markdown]
# ## Seeds
# Everything grows from tasks that people wrote by hand, in seven categories. The teacher
# is shown four of them in each request. This is one:

# %%
seeds = pack.seeds(run.config.language)
seed = seeds["reasoning"][0]
notebook.urdu(f"{seed.instruction}\n\n{seed.output}")
notebook.rows(["category", "seeds"], [(c, len(s)) for c, s in seeds.items()])

# %% [markdown]
# ## Generate
# The teacher is asked until each category has its share. The teacher of this lesson fills
# templates: it costs nothing, and shows the machinery. Notebook 01 takes a real one.
# Nothing is dropped in silence: each candidate was accepted or has a named reason.

# %%
counts = pipeline.generate(run)
funnel = report.latest_json(run.file("synth", "funnel.json"))
notebook.show(report.funnel_plot(funnel))
example = report.sample_examples(run, 1)[0]
notebook.urdu(f"{example.instruction}\n{example.input}\n\n{example.output}")

# %% [markdown]
# ## Continued pretraining
# The base reads running Urdu text, to know the language better before it learns to
# answer. Some English stays among it, so that English is not forgotten.

# %%
pretrained = trainer.pretrain(run)

# %% [markdown]
# ## Fine-tuning
# The same adapter now learns to answer. Only the answer counts in the loss, not the
# question: a model should learn to answer, not to ask.

# %%
finetuned = trainer.finetune(run)
notebook.show(report.loss_plot(run))

# %% [markdown]
# ## Evaluate
# Base, pretrained and fine-tuned model meet the same documents and questions in the same
# words. No figure stands without its base; a star means that the difference is sure.

# %%
results = pipeline.evaluate(run)
notebook.rows(*evaluation.short_table(run))

# %% [markdown]
# ## Talk to it
# Your question, answered by the new model and by its base. In the smallest size the base
# is a toy of 2.5 million parameters: expect the shape of an answer, not its truth.

# %%
notebook.answers(run, QUESTION)

# %% [markdown]
# ## Check
# These sentences must be true, or the run is not worth trusting.

# %%
values = {m["key"]: m["values"] for m in results["measures"]}
read, answered = values["bits_per_byte_ur"], values["response_loss"]
better = read["pretrain"]["value"] < read["base"]["value"]
assert better, "pretraining did not make held-out Urdu easier to foresee"
better = answered["finetune"]["value"] < answered["base"]["value"]
assert better, "fine-tuning did not bring held-out answers closer"
assert run.file("evaluation", "gate.json").is_file(), "the gate gave no verdict"
print("held-out Urdu and answers both improved; the report:", report.build(run))

# %% [markdown]
# ## What you have now
# In the run folder: the data set in `data/`, the adapter in `finetune/adapter/`, every
# answer and the verdict in `evaluation/`, and all of it on one page, `report.html`.
#
# To do it in earnest, in a run folder of its own, begin with
# [01 · Generate](01_generate.ipynb): a real teacher and as many examples as you can pay.
# To chat on a page, open [05 · Release](05_release.ipynb) with the same `RUN_DIR`.
