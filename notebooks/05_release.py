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
# **What you will have:** merged 16-bit weights that any library loads, GGUF files for
# llama.cpp and Ollama, a table of what quantisation costs your model, a chat page in
# Urdu, a model card from the run's own numbers, and the list of what a push would send.
#
# **Cost:** about 4 minutes and 2 GB of memory in this size, $0.00. For a 4B model on a
# T4, half an hour, 8 GB of disk for the merged weights and 4 GB for a q8_0 file.

# %% tags=["parameters"]
RUN_DIR = "runs/quickstart"
PRESET = "smoke"
OVERRIDES = {}
QUANTS = "q8_0"
REPOSITORY = "OWNER/urdu-assistant"

# %% [markdown]
# ## The run
# If the notebooks before this one have left an adapter in this folder, the next cell
# finds it; if not, it makes one, and measures it against its base.

# %%
from IPython.display import HTML, SVG, Markdown, display

from alif_kit import config, pipeline, quant_study
from alif_kit.errors import UserError
from alif_kit.release import cards, chat_page, hub
from alif_kit.run_folder import Run
from alif_kit.training import trainer

wanted = {"evaluation.max_examples": 12}
run = Run.open(RUN_DIR, config.load(PRESET, {**OVERRIDES, **wanted}))
pipeline.make_data(run)
trainer.pretrain(run)
trainer.finetune(run)
print(pipeline.evaluate(run)["suite"], "suite measured")

# %% [markdown]
# ## Merge
# An adapter needs its base and its libraries beside it, and with trained vocabulary it
# is gigabytes. Merged, it is a plain model. The merge checks itself: the merged model
# must give the logits of base and adapter.

# %%
found = pipeline.merge(run)
print(f"logits differ by at most {found['largest_difference']:.2%} of their range")
print(f"the same likeliest token in {found['same_top_token']:.1%} of the places")
print("answers end at the tokens", found["ends"])

# %% [markdown]
# ## GGUF
# One file with weights, tokenizer and chat template. Each is opened again: a wrong stop
# token, the usual fault, would make a model talk on for ever. The home-made tokenizer
# of the toy base is unknown to the converter, which then says so.

# %%
try:
    for path, about in pipeline.gguf(run, QUANTS.split(",")).items():
        print(path.name, about)
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
display(SVG(data=quant_study.plot(study["forms"], run.config.language)))
print(study["advice"])

# %%
header, rows = quant_study.table(study, run.config.language)
lines = [header, ["---"] * len(header), *rows]
display(Markdown("\n".join("|" + "|".join(line) + "|" for line in lines)))
print("not measured:", study["missing"] or "nothing")

# %% [markdown]
# ## Talk to it
# A page in Urdu and English, right to left where it should be, beside the base if you
# switch that on. It is served on this machine only. What you flag goes into the run.

# %%
page = pipeline.chat_page(run)
address = chat_page.launch(page)
display(HTML(f'<a href="{address}">{address}</a>'))

# %% [markdown]
# ## The model card
# Written from the run's files: base and terms, data, recipe, cost, the evaluation with
# the base's row, the gate's verdict, limits. What was not done is said, not left out.

# %%
facts = pipeline.card_facts(run)
card = cards.write(run, facts, REPOSITORY)
print(card.read_text("utf-8")[:1500])

# %% [markdown]
# ## Push, dry
# What would go to the Hub, private unless you say otherwise. A model that the gate has
# not passed needs `--no-gate`, and its card says so.

# %%
for repository in hub.plan(run, REPOSITORY, [], facts):
    sizes = repository.sizes()
    print(f"{repository.id}: {len(sizes)} files, {sum(sizes.values()) / 1e6:,.1f} MB")
print("the gate:", "; ".join(facts["causes"]) or "passed")

# %% [markdown]
# ## Check
# These sentences must be true before anything is published.

# %%
assert found["same_top_token"] >= 0.97, "the merged model is not the tuned one"
assert len(study["forms"]) >= 2, "nothing to compare with 16 bit"
assert "toy" in card.read_text("utf-8").lower(), "a toy's card must say that it is one"
assert facts["causes"], "a toy on few examples cannot have passed the gate"
page.close()
print("merged, measured, described; nothing was sent")

# %% [markdown]
# **What you now have:** `release/` in the run folder, with `merged/`, `gguf/` where the
# converter knows the tokenizer, `quant_study/` and `README.md`, the card. The same from
# a terminal: `alif merge`, `alif gguf`, `alif quant-study`, `alif chat --web`,
# `alif card`, `alif push --to OWNER/NAME --dry-run`.
#
# **This was the last notebook.** To do better, make more data (01) or train longer
# (02, 03); the ledger says what it cost.
