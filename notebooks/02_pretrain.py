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
# **What you will have:** an adapter that has read running Urdu text, with English among
# it so that English is not forgotten, and held-out bits per byte before and after.
#
# **Time, memory, cost:** two minutes, 2 GB and $0.00 for the demonstration on a CPU. On
# a T4 the plan below says it before anything loads.

# %% tags=["parameters"]
RUN_DIR = "runs/pretrain"
PRESET = "smoke"
HOURS = 0.0  # the session ends itself in time to save; 0 for no limit
SOURCE = "pack"  # "pack", "wikipedia", a Hub data set or a local file
OVERRIDES = {}

# %%
import pandas
from IPython.display import HTML, Markdown, display

from alif_kit import config, platform, report
from alif_kit.evaluation import metrics
from alif_kit.evaluation.generate import text_nll
from alif_kit.held_out import held_out
from alif_kit.run_folder import Run
from alif_kit.training import bases, budget, cards, prepare, trainer

# %%
settings = {"corpus.source": SOURCE, "session.hours": HOURS, **OVERRIDES}
run = Run.open(RUN_DIR, config.load(PRESET, settings))
facts = platform.detect()
print(facts.platform, "|", facts.reason)
print(*facts.advice, sep="\n")

# %% [markdown]
# ## What a word costs
# Each base cuts Urdu into tokens of its own. A base that needs half the tokens reads
# twice the Urdu in an hour: count words, not tokens.

# %%
card, why = cards.card_here(facts.gpu)
known = [b for b in bases.known_bases().values() if b.fertility]
rows = [(b.name, b.fertility, round(cards.words_per_hour(b, card))) for b in known]
columns = ["base", "tokens per Urdu word", f"Urdu words an hour on {card.name} (rough)"]
pandas.DataFrame(rows, columns=columns).sort_values(columns[1]).set_index("base")

# %% [markdown]
# ## The plan
# Memory by part, speed and what the hours buy, before anything loads. Here for the
# `t4` preset; `alif plan --help` has the rest.

# %%
preset = config.load("t4")
shape = bases.find(preset.base.model)
plan = budget.plan(preset, card, shape, hours=HOURS or 12.0)
print(f"{plan.peak_vram_gib:.1f} GiB at the peak, {plan.offered_gib:.1f} offered")
print(f"{plan.urdu_words_per_hour:,} Urdu words an hour, {plan.steps:,} steps")
pandas.Series(plan.parts, name="GiB").to_frame()

# %% [markdown]
# ## The corpus, before and after cleaning
# Every document is kept or dropped for a named reason; held-out ones are set apart
# first, so that nothing near them is trained on.

# %%
funnel = prepare.prepare(run)
columns = ["documents_read", "documents_train", "documents_held_out", "retention"]
display(pandas.DataFrame(funnel).T[columns])
pandas.DataFrame({side: row["dropped"] for side, row in funnel.items()})

# %%
samples = report.changed_pages(run, 3)
display(HTML(samples or "<p>Nothing had to be mended: the pack's pages are clean.</p>"))

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
before

# %% [markdown]
# ## Read
# Stop the cell, close the session, come back on another machine: running it again goes
# on from the last checkpoint, with the same losses as if nothing had happened.

# %%
summary = trainer.pretrain(run)
summary

# %%
display(HTML(report.loss_plot(run)))

# %% [markdown]
# ## Held-out bits per byte, after

# %%
adapter = run.file("pretrain", "adapter")
base = trainer.base_path(run.config)
loaded = trainer.seam.load(run.config.base, base, adapter)
nats = {of: sum(text_nll(loaded, t, window) for t in texts[of]) for of in texts}
after = {of: metrics.bits_per_byte(nats[of], size[of]) for of in texts}
table = pandas.DataFrame({"before": before, "after": after})
table.assign(change=table.after - table.before)

# %% [markdown]
# ## Check
# These sentences must be true, or the adapter is not worth going on with.

# %%
assert after["ur"] < before["ur"], "held-out Urdu did not get easier"
again = trainer.pretrain(run)
assert again == summary, "a finished stage was repeated"
display(Markdown(f"Urdu {before['ur']:.3f} → {after['ur']:.3f} bits per byte"))

# %% [markdown]
# ## What you have now
# `pretrain/adapter/` and `pretrain/metrics.csv`. Next: `03_finetune` teaches it to
# answer, in the same run folder.
