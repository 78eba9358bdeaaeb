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
# **What you will have:** instruction data made by a teacher, a base that has read Urdu,
# an adapter that has learnt to answer, and a report that compares it with its base.
#
# **Cost:** about 4 minutes, 2 GB of memory, $0.00. No key, no GPU.
# The base here is a toy and the teacher fills templates: this shows that every part
# works, not how good a real model becomes.

# %% tags=["parameters"]
RUN_DIR = "runs/quickstart"
PRESET = "smoke"
OVERRIDES = {}

# %% [markdown]
# ## Where are we?
# Kaggle, Colab or your own machine, which GPU, and what to switch if something is off.

# %%
from IPython.display import HTML, display

from alif_kit import config, evaluation_report, pack, pipeline, platform, report
from alif_kit.run_folder import Run

facts = platform.detect()
print(facts.platform, "|", facts.reason)
print(*facts.advice, sep="\n")

# %% [markdown]
# ## One run, one folder
# Every stage reads files of this folder and writes files into it. Run the notebook
# again after a disconnect and it goes on where it was.

# %%
settings = config.load(PRESET, OVERRIDES)
run = Run.open(RUN_DIR, settings)
print(settings.synth.targets)

# %% [markdown]
# ## Seeds
# Everything grows from hand-written tasks in seven categories. One of them, as text:

# %%
seed = pack.seeds("ur")["reasoning"][0]
page = '<div dir="rtl" lang="ur" style="font-family:Noto Nastaliq Urdu,serif;'
page += 'line-height:2.2;white-space:pre-wrap">{}</div>'
display(HTML(page.format(f"{seed.instruction}\n\n{seed.output}")))

# %% [markdown]
# ## Generate
# The teacher is asked until each category has its share. Each answer is written to
# `synth/journal.jsonl` before it is read, so nothing paid for can be lost.

# %%
counts = pipeline.make_data(run)
counts

# %% [markdown]
# ## What became of the candidates
# Nothing is dropped in silence: each candidate was accepted or has a named reason.

# %%
funnel = report.latest_json(run.file("synth", "funnel.json"))
display(HTML(report.funnel_plot(funnel)))

# %% [markdown]
# ## Continued pretraining
# The base reads Urdu pages, with some English among them so that it is not forgotten.

# %%
from alif_kit.training import trainer

pretrained = trainer.pretrain(run)
pretrained

# %% [markdown]
# ## Fine-tuning
# The same adapter learns to answer: the loss is taken on the answers only.

# %%
finetuned = trainer.finetune(run)
display(HTML(report.loss_plot(run)))

# %% [markdown]
# ## Evaluate
# Base, pretrained and fine-tuned model meet the same documents and questions.

# %%
results = pipeline.evaluate(run)
for row in evaluation_report.short_table(run)[1]:
    print(f"{row[0]:<34} n={row[1]:<4} base {row[2]:>7}  tuned {row[4]:>7}")

# %% [markdown]
# ## Check
# These sentences must be true, or the run is not worth trusting.

# %%
loss = {m["key"]: m["values"] for m in results["measures"]}
read, answered = loss["bits_per_byte_ur"], loss["response_loss"]
better = read["pretrain"]["value"] < read["base"]["value"]
assert better, "pretraining did not help held-out Urdu"
better = answered["finetune"]["value"] < answered["base"]["value"]
assert better, "fine-tuning learnt no answers"
print("held-out Urdu and held-out answers both improved")

# %% [markdown]
# ## The report
# One page with all of the above. You now have a data set in `data/`, an adapter in
# `finetune/adapter/` and this report. On a T4, set `PRESET = "t4"` and give a teacher.

# %%
print(report.build(run))
