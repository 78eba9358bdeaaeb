"""Which rows to fine-tune a small base on: a teacher's templates, the pack's hand-written seeds, or both?

    python bench/seed_rows.py [--model FOLDER] [--steps 40] [--sft-steps 60] [--tests 24] [--budget 96] [--quick] [--out FILE.json]

One continued pretraining (CPT), and from its adapter three fine-tunings (SFT) with as many steps, which differ in their sources
only: what `alif generate` makes with the preset `smoke` and its embedded teacher, the pack's seeds, or both. Held out, and trained
on by none: every fifth seed of each category, and the teacher's rows that `alif generate` holds out. Of both kinds, before SFT and
after each: nats a token of the right answer with the token that ends it, the share of answers that end by themselves within the
budget, the share of word 4-grams that an answer repeats, and the share of the answers to be parsed that could not be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import real_weights
from rich.console import Console
from rich.table import Table

from alif_kit import pipeline
from alif_kit.core.config import Config
from alif_kit.core.records import Example, SeedTask, read_json, read_jsonl, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.evaluation import scoring, sets
from alif_kit.evaluation.generate import response_nll
from alif_kit.evaluation.subjects import Respondent, Subject
from alif_kit.languages import pack
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import training_text
from alif_kit.synth.split import near_training
from alif_kit.training import trainer

FORMS = {"templates": {"own": 0}, "seeds": {"seeds": 0}, "both": {"own": 0, "seeds": 0}}
MEASURES = {"loss": "nats a token", "stopped": "ends by itself", "repeated": "repeated 4-grams", "unread": "unread"}
FIFTH = 5


def hold_out(run: Run) -> dict[str, list[SeedTask]]:
    """Write both kinds to data/eval.jsonl, by which the mixture leaves those seeds out; none is near what is trained on."""
    path, seeds = run.file("data", "eval.jsonl"), list(pack.seeds("ur").values())
    rows = {"seeds": [task for tasks in seeds for task in tasks[::FIFTH]], "templates": list(read_jsonl(path, Example))}
    trained = [*read_jsonl(run.file("data", "train.jsonl"), Example), *(t for t in chain(*seeds) if t not in rows["seeds"])]
    near = near_training(trained, [*chain(*rows.values())], run.config.synth.novelty_threshold)
    write_jsonl(path, chain(*rows.values()))
    return {kind: [row for row in found if row.id not in near] for kind, found in rows.items()}


def settings(args: argparse.Namespace, **changes: Any) -> Config:
    steps = {"pretrain__max_steps": args.steps, "finetune__max_steps": args.sft_steps}
    budget = {"evaluation__max_new_tokens": args.budget, "evaluation__max_examples": 0}
    return real_weights.settings(args, corpus__replay_share=real_weights.REPLAY, **steps, **budget, **changes)


def tuned(args: argparse.Namespace, start: Run, form: str) -> Run:
    """A run beside `start`, with its data and its pretrained adapter, fine-tuned on the form's sources."""
    run = Run.open(start.path.with_name(form), settings(args, mixture__sources=FORMS[form]))
    for folder in ("data", "pretrain"):
        shutil.copytree(start.file(folder), run.file(folder))
    trainer.finetune(run)
    return run


def measured(run: Run, stage: str, held: dict[str, list[SeedTask]]) -> dict[str, dict[str, float]]:
    """What the stage's adapter makes of the tasks held out, of each kind."""
    items = {item.id: item for work in sets.gather(run)[0] if work.name == "held_out" for item in work.items}
    base = run.config.base
    subject = Subject("model", base.model, lambda: base.model, run.file(stage, "adapter"), base.chat_format)
    with closing(Respondent(subject, run.config)) as respondent:
        respondent.loaded.model.eval()
        return {kind: figures(respondent, [items[row.id] for row in rows]) for kind, rows in held.items()}


def figures(respondent: Respondent, items: list[sets.Item]) -> dict[str, float]:
    losses = [loss(respondent, item) for item in items]
    rows = [scoring.row_of(item, answer, "ur") for item, answer in zip(items, respondent.answer(items), strict=True)]
    parsed = [row["parsed"] for row in rows if row["parsed"] is not None]
    found = {
        "loss": sum(nats for nats, _ in losses) / sum(tokens for _, tokens in losses),
        "stopped": sum(row["scores"]["stops_by_itself"] for row in rows) / len(rows),
        "repeated": sum(row["scores"]["repetition"] for row in rows) / len(rows),
        "unread": parsed.count(False) / len(parsed),
    }
    return {name: round(value, 3) for name, value in found.items()} | {"n": len(rows), "to parse": len(parsed)}


def loss(respondent: Respondent, item: sets.Item) -> tuple[float, int]:
    """Nats and tokens of the right answer and of what ends it."""
    prompt = respondent.prompt(item)
    whole = training_text(item.facts["example"], respondent.loaded.tokenizer, respondent.chat_format)
    return response_nll(respondent.loaded, prompt, whole.removeprefix(prompt), real_weights.WINDOW)


def experiment(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A line for the model before SFT, and one for each form; each is printed as it comes."""
    start = Run.open(folder / "start", settings(args))
    pipeline.generate(start)
    held = {kind: sets.spread(rows, args.tests) for kind, rows in hold_out(start).items()}
    trainer.pretrain(start)
    lines = [line("CPT", {}, measured(start, "pretrain", held))]
    for form in FORMS:
        run = tuned(args, start, form)
        used = {name: of["rows_used"] for name, of in read_json(run.file("finetune", "mixture.json"))["sources"].items()}
        lines.append(line(f"the same, + SFT on {form}", used, measured(run, "finetune", held)))
    return lines


def line(model: str, rows: dict[str, int], held_out: dict[str, dict[str, float]]) -> dict[str, Any]:
    """A line of the table, printed at once."""
    found = {"model": model, "rows": rows, "held_out": held_out}
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return found


def table(lines: list[dict[str, Any]]) -> Table:
    heads = [f"{kind}\n{head}" for kind in lines[0]["held_out"] for head in MEASURES.values()]
    grid = Table("model", "rows", *heads, title="held-out tasks of both kinds")
    for line in lines:
        cells = (f"{of[measure]:.3f}" for of in line["held_out"].values() for measure in MEASURES)
        grid.add_row(line["model"], ", ".join(f"{name} {rows}" for name, rows in line["rows"].items()), *cells)
    return grid


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="", help="another local checkpoint instead of gemma-270m")
    options.add_argument("--steps", type=int, default=40, help="optimiser steps of CPT, two rows of 256 tokens each")
    options.add_argument("--sft-steps", type=int, default=60, help="optimiser steps of each SFT, two tasks each")
    options.add_argument("--tests", type=int, default=24, help="held-out tasks of each kind to ask, of all categories alike")
    options.add_argument("--budget", type=int, default=96, help="tokens of an answer at most")
    options.add_argument("--quick", action="store_true", help="a few steps and tasks, to see that it runs")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    args = parser().parse_args(argv)
    args.train_vocab = "none"
    if args.quick:
        args.steps, args.sft_steps, args.tests, args.budget = 1, 2, 3, 8
    seam.prepare()
    with tempfile.TemporaryDirectory(prefix="seed-rows-") as folder:
        lines = experiment(args, Path(folder))
    Console(width=160).print(table(lines))
    if args.out:
        write_json(args.out, {"steps": args.steps, "sft_steps": args.sft_steps, "budget": args.budget, "rows": lines})
    return lines


if __name__ == "__main__":
    main()
