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
# # 05 · Release: from an adapter to something people use
#
# <!-- badges -->
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/alif_kit/blob/main/notebooks/05_release.ipynb) [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/OWNER/alif_kit/main/notebooks/05_release.ipynb) [source](https://github.com/OWNER/alif_kit/blob/main/notebooks/05_release.ipynb)
# <!-- /badges -->
#
# <div dir="rtl" lang="ur" style="font-family:'Noto Nastaliq Urdu',serif;line-height:2.3">
#
# یہ آخری سبق ماڈل کو لوگوں کے ہاتھ میں دینے کے قابل بناتا ہے: تربیت کا حاصل بنیادی
# ماڈل میں ملا کر ایک مکمل ماڈل بنایا جاتا ہے، چھوٹی فائلیں بنتی ہیں جو عام کمپیوٹر پر بھی
# چلتی ہیں، اور گفتگو کا ایک صفحہ کھلتا ہے۔ ساتھ ہی ایک تعارفی کارڈ لکھا جاتا ہے جس
# میں خوبیاں بھی درج ہوتی ہیں اور خامیاں بھی۔ جب تک آپ خود نہ بھیجیں، کچھ بھی شائع
# نہیں ہوتا۔
#
# </div>
#
# **What you will have:** merged 16-bit weights that any library loads; GGUF files for
# llama.cpp and Ollama; a table of what quantisation costs your model; a chat page in
# Urdu; a model card from the run's own numbers; the list of what a push would send.
#
# **Time, memory, cost:** about 4 minutes, 2 GB of memory and $0.00 on two CPU cores
# (measured). For a base of four billion parameters on a free T4 half an hour, 8 GB of
# disk for the merged weights and 4 GB for a q8_0 file, $0.00 (a guess).
#
# **Words used here** (all of them: [glossary](../docs/glossary.md))
#
# - **merge**: put the adapter into the base's weights, so that one model is left
# - **GGUF**: one file with weights, tokenizer and chat template, for llama.cpp and Ollama
# - **quantisation**: weights rounded to fewer bits; smaller, faster, a little worse
# - **model card**: what a model is, was trained on, can do and cannot, for its users

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
QUANTS = "q8_0"  # @param ["q8_0", "q8_0,q4_k_m", "f16"] {allow-input: true}
REPOSITORY = "OWNER/urdu-assistant"  # @param {type:"string"}
OVERRIDES = {}  # @param {type:"raw"}

# %% [markdown]
# ## Where are we?
# The same run folder as before: the banner says what it has. Without one this lesson
# begins a new run, and does what it needs from the earlier lessons if that is free.

# %%
from alif_kit import notebook, pipeline
from alif_kit.chat import page as chat_page
from alif_kit.core.errors import UserError
from alif_kit.quantisation import study as quant_study
from alif_kit.release import cards, hub

run = notebook.start(MODE, RUN_DIR, HOURS, OVERRIDES, drive=KEEP_ON_DRIVE)
notebook.catch_up(run, "release")

# %% [markdown]
# ## Merge
# An adapter needs its base beside it, and with trained vocabulary it is gigabytes.
# Merged, it is a plain model. The merge checks itself: each matrix must be that of base
# and adapter, and where the machine holds the whole model, so must the logits.

# %%
found = pipeline.merge(run)
print(f"matrices differ by at most {found['matrix_difference']:.2%}, which is rounding")
if found["logits_compared"]:
    print(f"logits differ by {found['logits_difference']:.2%} of their spread")
    print(f"the same likeliest token in {found['same_top_token']:.1%} of the places")
else:
    print("logits not compared:", found["not_compared"])
print("answers end at the tokens", found["ends"])

# %% [markdown]
# ## GGUF
# Each file is opened again: a wrong stop token, the usual fault, would make a model talk
# on for ever. The name tells what was found: `.unchecked.gguf` where llama.cpp is not
# installed (`pip install 'alif-kit[llama]'`, some minutes), `.wrong.gguf` where it is not
# the merged model. The home-made tokenizer of the toy base is unknown to the converter,
# which then says so.

# %%
try:
    for path, about in pipeline.gguf(run, QUANTS.split(",")).items():
        notebook.rows([path.name, "found"], about.items())
except UserError as error:
    print("no GGUF:", error)

# %% [markdown]
# ## What quantisation costs
# The same examples, answered by the 16-bit weights and by each rounded form. Lower is
# better, left is smaller, and a large mark is fast. On a few examples the intervals are
# wide: look at them before you believe a difference.

# %%
forms = ["16bit", "nf4", *QUANTS.split(",")]
study = pipeline.quant_study(run, forms, 4)
notebook.show(quant_study.plot(study["forms"], run.config.language))
notebook.rows(*quant_study.table(study, run.config.language))
print(study["advice"])
print("not measured:", study["missing"] or "nothing")

# %% [markdown]
# ## Talk to it
# A page in Urdu and English, right to left where it should be, with the base beside it if
# you switch that on. It is served on this machine only; on Kaggle, which hides its ports,
# the answer below has to do. What you flag on the page goes into the run.

# %%
page = pipeline.chat_page(run)
address = chat_page.launch(page)
notebook.show(f'<a href="{address}">{address}</a>')
notebook.answers(run, "لاہور کس دریا کے کنارے آباد ہے؟")

# %% [markdown]
# ## The model card
# Written from the run's files: base and terms, data, recipe, cost, the evaluation with
# the base's row, the gate's verdict, limits. What was not done is said, not left out.

# %%
facts = pipeline.card_facts(run)
card = cards.write(run, facts, REPOSITORY)
notebook.card(card)

# %% [markdown]
# ## Push, dry
# What would go to the Hub, private unless you say otherwise. A model that the gate has
# not passed needs `--no-gate`, and its card says so.

# %%
plans = [(r.id, r.sizes()) for r in hub.plan(run, REPOSITORY, [], facts)]
lines = [(n, len(size), f"{sum(size.values()) / 1e6:,.1f}") for n, size in plans]
notebook.rows(["repository", "files", "MB"], lines)
notebook.rows(["the gate"], [[cause] for cause in facts["causes"]] or [["passed"]])

# %% [markdown]
# ## Check
# These sentences must be true before anything is published.

# %%
text = card.read_text("utf-8")
assert found.get("same_top_token", 1) >= 0.9, "the merged model is not the tuned one"
assert len(study["forms"]) >= 2, "there is nothing to compare with 16 bit"
assert run.config.base.model in text, "the card does not name the base"
warned = "not passed the regression gate" in text
assert warned == bool(facts["causes"]), "the card hides that the gate did not pass"
assert lines, "a push would send nothing"
page.close()
print("merged, measured, described; nothing was sent")

# %% [markdown]
# ## What you have now
# `release/` in the run folder, with `merged/`, `gguf/` where the converter knows the
# tokenizer, `quant_study/` and `README.md`, the card. The same from a terminal:
# `alif merge`, `alif gguf`, `alif quant-study`, `alif chat --web`, `alif card`,
# `alif push --to OWNER/NAME --dry-run`.
#
# This was the last lesson. To do better, go back to
# [01 · Generate](01_generate.ipynb) for more data, or to
# [02 · Pretrain](02_pretrain.ipynb) to read longer, in a new run folder.
