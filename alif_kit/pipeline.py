"""Second floor: the stages in order, for the command line and the notebooks. Each is skipped when its files are finished."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from alif_kit import platform, report
from alif_kit.progress import bar
from alif_kit.run_folder import Run


def walk(run: Run) -> Path:
    """Generate, pretrain, fine-tune, evaluate, report; returns the report's path. Killed and called again, it goes on."""
    from alif_kit.training import trainer

    make_data(run)
    trainer.pretrain(run)
    trainer.finetune(run)
    evaluate(run)
    return report.build(run)


def make_data(run: Run, *, batch: bool = False) -> dict[str, Any]:
    """Generate until every category has its target, then split; returns counts by side and category."""
    from alif_kit.synth import dataset, generate

    if not run.done("generate"):
        teacher = run.config.teacher
        key = platform.secret(teacher.key_name) if teacher.key_name else ""
        total = sum(run.config.synth.targets.values())
        with bar("generate", total) as update:
            generate.generate(run, key, batch=batch, on_progress=lambda fold: update(len(fold.pool), f"{fold.folded} requests"))
    return dataset.finish(run)


def evaluate(run: Run, *, judge: bool = False) -> dict[str, Any]:
    """Measure base, pretrained and fine-tuned model, and let the gate judge the last against the first."""
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


def _resolve(run: Run, model: str) -> str:
    """Where a base lies; the kit's own small ones are built on first use."""
    from alif_kit.training import tiny_base

    return tiny_base.resolve(model, run.config.language, run.config.seed)


def merge(run: Run, adapter: Path | None = None) -> dict[str, Any]:
    """release/merged out of the run's fine-tuned adapter (or another one) and its base; returns what the check found."""
    from alif_kit.release import merge as merging

    base, folder = run.config.base, run.file("release", "merged")
    adapter = adapter or run.require("finetune", "adapter", stage="finetune")
    if run.config.lora.after_pretraining == "merge" and adapter == run.file("finetune", "adapter"):
        return merging.merge(base, str(run.require("pretrain", "merged", stage="finetune")), adapter, folder)
    return merging.merge(base, _resolve(run, base.model), adapter, folder)


def gguf(run: Run, quants: list[str], ollama_name: str = "") -> dict[Path, dict[str, Any]]:
    """GGUF files by what reading each back found: answers too where llama.cpp is installed. Merges first where that is missing."""
    from alif_kit.release import gguf as files
    from alif_kit.release import ollama, read_back

    merged = run.file("release", "merged")
    if not (merged / "SHA256SUMS").is_file():
        merge(run)
    made = files.make(merged, quants, run.file("release", "gguf"), run.path.name, platform.scratch_folder())
    prompts = read_back.sample_prompts(merged, run.config)
    found = {path: read_back.read_back(path, merged, run.config.base, prompts) for path in made}
    ollama.write(made[0], merged, run.config.mixture.system, run.config.base.max_seq_length)
    if ollama_name:
        ollama.create(ollama_name, made[0].parent)
    return found


def quant_study(run: Run, forms: list[str], limit: int) -> dict[str, Any]:
    """The merged model in every form, measured on the same examples; merges first where that is missing."""
    from alif_kit import quant_study as studying

    if not run.file("release", "merged", "SHA256SUMS").is_file():
        merge(run)
    return studying.study(run, forms, limit)


def card_facts(run: Run) -> dict[str, Any]:
    """What a model card says, with the evaluation table, the ledger and the quantisation study as the report puts them together."""
    from alif_kit import evaluation_report, release_report
    from alif_kit.release import facts

    results = evaluation_report.results_of(run)
    table = evaluation_report.comparison(results) if results else []
    gathered = facts.gather(run, table, report.stages(run), report.sample_examples(run, CARD_SAMPLES))
    return gathered | {"study": release_report.released(run)["study"]}


CARD_SAMPLES = 3
"""Rows of the training data that a card shows."""


def ask(run: Run, question: str, max_tokens: int = 256) -> list[tuple[str, str]]:
    """Name and answer of the run's model and of its base, each by its likeliest tokens."""
    from alif_kit.release import speakers
    from alif_kit.release.speech import Usage

    system = [{"role": "system", "content": run.config.mixture.system}] if run.config.mixture.system else []
    messages = [*system, {"role": "user", "content": question}]
    who = speakers.choose(run, None, None, partial(_resolve, run))
    return [(s.name, "".join(s.stream(messages, 0.0, max_tokens, Usage())).strip()) for s in who if s]


def chat_page(run: Run) -> Any:
    """The chat page of the run's model beside its base, ready to launch; flagged answers go to release/flagged.jsonl."""
    from alif_kit.release import chat_page as page
    from alif_kit.release import speakers
    from alif_kit.release.talk import Wishes, standing

    speaker, base = speakers.choose(run, None, None, partial(_resolve, run))
    flags, wishes = run.file("release", "flagged.jsonl"), Wishes(run.config.mixture.system)
    return page.build(page.Chat(speaker, standing(speaker.name, run), flags, base, wishes, run.config.language))
