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
# **What you will have:** an adapter that answers Urdu and English instructions, trained
# on the answers only, and a few of its answers to read.
#
# **Time, memory, cost:** three minutes, 2 GB and $0.00 for the demonstration on a CPU,
# which makes its own data and pretraining first if the run folder has none.

# %% tags=["parameters"]
RUN_DIR = "runs/finetune"
PRESET = "smoke"
HOURS = 0.0  # the session ends itself in time to save; 0 for no limit
SOURCES = {"own": 0}  # 0: all rows; more sources stand in training/mixture.toml
OVERRIDES = {}

# %%
import pandas
from IPython.display import HTML, display

from alif_kit import config, model, pipeline, report
from alif_kit.chat_format import prompt_text, response_markers
from alif_kit.evaluation.generate import answer_all
from alif_kit.records import Example, read_jsonl
from alif_kit.run_folder import Run
from alif_kit.training import mixture, show, trainer

# %%
settings = {"mixture.sources": SOURCES, "session.hours": HOURS, **OVERRIDES}
run = Run.open(RUN_DIR, config.load(PRESET, settings))
counts = pipeline.make_data(run)
trainer.pretrain(run)
pandas.DataFrame(counts)

# %% [markdown]
# ## The mixture
# Each source is named, capped, checked against the evaluation sets and counted. A
# missing one stops the run unless you say it may be skipped.

# %%
tokenizer = trainer.load_base(run.config).tokenizer
rows, mixed = mixture.finetuning_rows(run, tokenizer)
display(HTML(show.budget_plot(mixed)))

# %% [markdown]
# ## One example, as the model sees it
# Only the coloured part is learnt: the answer and the token that ends it. The rest is
# context.

# %%
user, answer = response_markers(tokenizer, run.config.base.chat_format)
print(repr(user), repr(answer))
labels = model.labels_of(rows[0], tokenizer, user, answer)
display(HTML(show.to_html(show.masked_example(rows[0], labels, tokenizer))))

# %% [markdown]
# ## Train
# Checks come first: one BOS, an end that is learnt, nothing cut, the right weights.
# Then it trains, and goes on where it was if the session dies.

# %%
summary = trainer.finetune(run)
summary

# %%
display(HTML(report.loss_plot(run)))

# %% [markdown]
# ## Talk to it
# Held-out tasks it has never seen. From the toy of the demonstration expect the manner
# of an answer, not its truth.

# %%
adapter, base = run.file("finetune", "adapter"), trainer.base_path(run.config)
loaded = model.load(run.config.base, base, adapter)
tasks = list(read_jsonl(run.file("data", "eval.jsonl"), Example))[:5]
frame = run.config.base.chat_format
prompts = [prompt_text(t, loaded.tokenizer, frame) for t in tasks]
answers = answer_all(loaded, prompts, run.config.evaluation.max_new_tokens, 5)

# %%
page = '<div dir="rtl" lang="ur" style="font-family:Noto Nastaliq Urdu,serif;'
page += 'line-height:2.2;white-space:pre-wrap"><b>{}</b>\n{}</div><hr>'
for task, said in zip(tasks, answers):
    display(HTML(report.escaped(page, task.instruction, said.text)))

# %% [markdown]
# ## Check
# These sentences must be true, or the adapter is not worth evaluating.

# %%
assert summary["loss_share"] < 1, "the prompts are learnt too"
assert any(said.stopped for said in answers), "no answer ends by itself"
losses = pandas.read_csv(run.file("finetune", "metrics.csv")).loss
assert losses.tail(5).mean() < losses.head(5).mean(), "the loss did not fall"
print("prompts masked, answers end, the loss fell")

# %% [markdown]
# ## What you have now
# `finetune/adapter/`, `finetune/metrics.csv` and `finetune/mixture.json`. Next:
# `alif evaluate` compares it with its base, and `alif report` puts all on one page.
