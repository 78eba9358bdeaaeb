"""Pipeline: the stages in order, for the command line, the notebooks and `import alif_kit`. Each is skipped when it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alif_kit.core.progress import bar
from alif_kit.core.run import Run, latest_json
from alif_kit.platforms import machine
from alif_kit.report import page as report

if TYPE_CHECKING:
    from alif_kit.core.config import Config
    from alif_kit.planner.budget import Plan

HOURS = 12.0
"""The longest free session of Colab and of Kaggle."""


def plan(config: Config, *, gpu: str = "", hours: float = 0.0, stage: str = "pretrain", corpus_words: int | None = None) -> Plan:
    """What a session takes and buys, before anything loads: GiB of memory by part, disk, steps, Urdu words, dollars.

    `gpu`: a card's short name (`t4`, `l4`, `a100` …), empty for the one here, else a free T4. `hours`: of training; 0 takes
    session.hours, else the longest free session. `stage`: `pretrain` or `finetune`. `corpus_words`: Urdu words of the corpus, to
    say which share of it is read. Raises UserError, with what would fit, where it does not fit.
    """
    from alif_kit.planner import bases, budget, cards

    shape = bases.find(config.base.model)
    found_card = cards.card(gpu) if gpu else cards.card_here(machine.detect().gpu)[0]
    length = hours or config.session.hours or HOURS
    found = budget.plan(config, found_card, shape, hours=length, corpus_words=corpus_words, stage=stage)
    budget.check(found, config, found_card, shape, stage)
    return found


def walk(run: Run) -> Path:
    """Generate, pretrain, fine-tune, evaluate, report; returns the report's path. Killed and called again, it goes on."""
    generate(run)
    pretrain(run)
    finetune(run)
    evaluate(run)
    return report.build(run)


def generate(run: Run, *, batch: bool = False) -> dict[str, Any]:
    """Ask the teacher until every category has its target, then split: data/train.jsonl, data/eval.jsonl, a card.

    `batch`: ask through the Batch API, at half the price and within a day. Returns counts by side and category. Answers that are
    paid for lie in synth/journal.jsonl, so calling again after a kill pays nothing twice. Raises UserError for a setting or key
    that will not do, StoppedError where a limit of money, requests or minutes is reached or the service fails.
    """
    from alif_kit.synth import dataset
    from alif_kit.synth import generate as synth

    if not run.done("generate"):
        teacher = run.config.teacher
        key = machine.secret(teacher.key_name) if teacher.key_name else ""
        total = sum(run.config.synth.targets.values())
        with bar("generate", total) as update:
            synth.generate(run, key, batch=batch, on_progress=lambda fold: update(len(fold.pool), f"{fold.folded} requests"))
    return dataset.finish(run)


def pretrain(run: Run) -> dict[str, Any]:
    """Continued pretraining on running text: pretrain/adapter, metrics.csv.

    Returns the summary: steps, tokens, seconds, first and last loss, peak memory. Resumes from the last checkpoint. Raises
    UserError where the card or a setting will not do, StoppedError with a checkpoint where the session's hours are over.
    """
    from alif_kit.training import trainer

    return trainer.pretrain(run)


def finetune(run: Run) -> dict[str, Any]:
    """Fine-tuning on data/train.jsonl and the mixture, loss on answers only, after pretraining: finetune/adapter, metrics.csv.

    Returns and raises what `pretrain` does.
    """
    from alif_kit.training import trainer

    return trainer.finetune(run)


def evaluate(run: Run, *, judge: bool = False) -> dict[str, Any]:
    """Measure base, pretrained and fine-tuned model on the same questions, and let the gate judge the last against the first.

    `judge`: have an LLM read what no parser can, which costs money. Returns what evaluation/results.json holds: a row per measure
    and model with n and 95 % interval. Resumes row by row. Raises UserError where data or a set is missing.
    """
    from alif_kit.evaluation import gate, subjects, suites

    run.require("data", "eval.jsonl", stage="generate")
    results = suites.evaluate(run, subjects.of_run(run, partial(_resolve, run)), judge=judge)
    gate.check(run, results)
    return results


def compare(run: Run, model: str, *, judge: bool = False) -> dict[str, Any]:
    """Measure any model (a folder, an adapter, a Hub id, an endpoint) against the run's base, and let the gate judge it."""
    from alif_kit.evaluation import gate, subjects, suites

    results = suites.evaluate(run, subjects.against(model, run.config.base.model, partial(_resolve, run)), judge=judge)
    gate.check(run, results)
    return results


def gate(run: Run) -> dict[str, Any]:
    """Is the fine-tuned model worse than its base where it matters? Judged from evaluation/results.json by the margins `gate.*`.

    Returns what evaluation/gate.json holds: `verdict` (pass, fail, undecided) and a finding per guarded measure. Raises UserError
    where nothing has been evaluated.
    """
    from alif_kit.evaluation import gate as judging

    return judging.check(run)


def _resolve(run: Run, model: str) -> str:
    """Where a base lies; the kit's own small ones are built, and the run's is fitted, on first use."""
    from alif_kit.fitting import make
    from alif_kit.model import without_hub

    if model == run.config.base.model:
        return make.base_path(run.config)
    return without_hub.resolve(model, run.config.language, run.config.seed)


def merge(run: Run, adapter: Path | None = None) -> dict[str, Any]:
    """release/merged: 16-bit safetensors out of the run's fine-tuned adapter (or the one in the folder `adapter`) and its base.

    Returns what the checks found: by how much the worst matrix is off, and, where the machine holds the whole model, by how much
    logits differ from base and adapter, as a share of their spread, and in which share of the places the likeliest token is the
    same. Raises UserError for an adapter that is missing or made for another base.
    """
    from alif_kit.release import merge as merging

    base, folder = run.config.base, run.file("release", "merged")
    adapter = adapter or run.require("finetune", "adapter", stage="finetune")
    if run.config.lora.after_pretraining == "merge" and adapter == run.file("finetune", "adapter"):
        return merging.merge(base, str(run.require("pretrain", "merged", stage="finetune")), adapter, folder, run.config.language)
    return merging.merge(base, _resolve(run, base.model), adapter, folder, run.config.language)


OWN = "finetune/adapter"


def _merged(run: Run) -> Path:
    """release/merged, whole and of the adapter that the run has now; one whose adapter is elsewhere or gone stays while whole."""
    from alif_kit.release import merge as merging

    folder = run.file("release", "merged")
    made = latest_json(folder / "merge.json") if (folder / merging.SUMS).is_file() else {}
    alone = made and (made.get("adapter", OWN) != OWN or not run.file("finetune", "adapter").is_dir())
    if not alone or merging.wrong_sums(folder):
        merge(run)  # which keeps a whole one of the run's adapter
    return folder


def fit(
    base: str,
    languages: Sequence[str],
    out: Path,
    *,
    rows: int = 0,
    coverage: float = 0.9999,
    add: int = 0,
    run: Path | None = None,
) -> dict[str, Any]:
    """A checkpoint in `out`: the base with a vocabulary of `rows` pieces, or of as many as write `coverage` of the texts.

    `base`: a name, folder or Hub id; `languages`: packs, and `en`. `add`: new pieces at most, learnt from the first language; their
    rows have to be trained. `run`: a run folder whose corpus and replay are counted too. Returns what fit.json holds: rows,
    parameters and bytes before and after, and by source words, tokens before and after, and shares, 0-1, of the tokens that kept
    pieces write and of the lines that are cut as before. Raises UserError for a base or languages that cannot be fitted.
    """
    from alif_kit.fitting import make as fitting
    from alif_kit.model import without_hub

    languages = list(dict.fromkeys(languages))
    own = next((language for language in languages if language != fitting.ENGLISH), fitting.ENGLISH)
    path, more = without_hub.resolve(base, own, 3407), fitting.of_run(run, languages)
    return fitting.fit(path, languages, out, rows=rows, coverage=coverage, add=add, more=more, name=base)


def gguf(run: Run, quants: Sequence[str] = ("q8_0",), ollama_name: str = "") -> dict[Path, dict[str, Any]]:
    """release/gguf: a file for llama.cpp, LM Studio and Ollama per quantisation, and a Modelfile; merges first where needed.

    `quants`: f16, bf16 and q8_0 need no compiler, k-quants (q4_k_m …) llama.cpp. `ollama_name`: register the first with Ollama.
    Returns what reading each file back found, which needs llama.cpp: `state` is right, or the file is called x.wrong.gguf, or
    x.unchecked.gguf until a call with llama.cpp finds it right. Only a right one gets a Modelfile or goes to the Hub. Raises
    UserError for a quantisation that is not known or whose tool is missing.
    """
    from alif_kit.release import gguf as files
    from alif_kit.release import ollama, read_back

    merged = _merged(run)
    made = files.make(merged, list(quants), run.file("release", "gguf"), run.path.name, machine.scratch_folder())
    prompts, texts = read_back.sample_prompts(merged, run.config), read_back.sample_texts(run.config.language)
    found = dict(read_back.read_back(path, merged, run.config.base, prompts, texts) for path in made)
    first, about = next(iter(found.items()))
    if about["state"] != "right":
        first.with_name("Modelfile").unlink(missing_ok=True)
        return found
    ollama.write(first, merged, run.config.mixture.system, run.config.base.max_seq_length)
    if ollama_name:
        ollama.create(ollama_name, first.parent)
    return found


def quant_study(run: Run, forms: list[str], limit: int) -> dict[str, Any]:
    """The merged model in every form, measured on the same examples; merges first where that is missing."""
    from alif_kit.quantisation import study as studying

    _merged(run)
    return studying.study(run, forms, limit)


def card(run: Run, to: str = "") -> Path:
    """release/README.md: the model card, every number from the run's own files; returns its path.

    `to`: the repository that its examples name, `OWNER/NAME`; empty for a name of the run's own. Raises UserError for a name that
    the Hub or the base's terms do not allow.
    """
    from alif_kit.release import cards, hub, terms

    facts = card_facts(run)
    to = to or f"OWNER/{terms.wanted_name(run.path.resolve().name, facts['terms'])}"
    hub.check_name(to, facts["terms"])
    return cards.write(run, facts, to)


def card_facts(run: Run) -> dict[str, Any]:
    """What a model card says: evaluation table, ledger and quantisation study as the report has them, three training rows."""
    from alif_kit.release import facts
    from alif_kit.report import evaluation, release

    results = evaluation.results_of(run)
    table = evaluation.comparison(results) if results else []
    gathered = facts.gather(run, table, report.stages(run), report.sample_examples(run, 3))
    return gathered | {"study": release.released(run)["study"]}


def ask(run: Run, question: str, max_tokens: int = 256) -> list[tuple[str, str]]:
    """What the run's model and its base answer to `question`: (name, answer) each, the likeliest tokens, `max_tokens` at most.

    Raises UserError where the run has no adapter yet, StoppedError where the model fails.
    """
    from alif_kit.chat import speakers
    from alif_kit.chat.speech import Usage

    system = [{"role": "system", "content": run.config.mixture.system}] if run.config.mixture.system else []
    messages = [*system, {"role": "user", "content": question}]
    who = speakers.choose(run, None, None, partial(_resolve, run))
    return [(s.name, "".join(s.stream(messages, 0.0, max_tokens, Usage())).strip()) for s in who if s]


def chat_page(run: Run) -> Any:
    """The chat page of the run's model beside its base, ready to launch; flagged answers go to release/flagged.jsonl."""
    from alif_kit.chat import page, speakers
    from alif_kit.chat.talk import Wishes, standing

    speaker, base = speakers.choose(run, None, None, partial(_resolve, run))
    flags, wishes = run.file("release", "flagged.jsonl"), Wishes(run.config.mixture.system)
    return page.build(page.Chat(speaker, standing(speaker.name, run), flags, base, wishes, run.config.language))
