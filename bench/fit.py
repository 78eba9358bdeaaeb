"""What fitting a base's vocabulary costs and buys: the base whole, with fewer rows, and with new pieces, side by side in one run.

    python bench/fit.py [--model FOLDER] [--forms whole,48000,32000,32000+2000] [--steps 60] [--gguf] [--quick] [--out FILE.json]

Each form in a process of its own: `alif fit` of gemma-270m (or `--model`) to so many rows, of which so many new ones are learnt, in
the precision that the kit takes, or, as `32000/float32`, without bfloat16; then the same continued pretraining on the pack's
Urdu with English replay. Bits per byte of the texts of real_weights.py, which are neither counted nor trained on, before and after;
parameters; MB of weights; tokens and Urdu words a second of training; answers a second; the process's peak memory (RSS); with
`--gguf` the size of a q8_0 and its tokens a second in llama.cpp.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import real_weights
from rich.console import Console
from rich.table import Table
from vocab_rows import peak_mib

from alif_kit.core.records import write_json
from alif_kit.evaluation.generate import answer_all
from alif_kit.fitting.make import fit
from alif_kit.languages import pack
from alif_kit.model import checkpoint, gemma
from alif_kit.model import unsloth as seam
from alif_kit.training.callback import Watch

BUDGET, ASKED = 32, 8
FORMS = "whole/float32,whole,48000,32000/float32,32000,32000+2000"


def one(form: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A form fitted, measured, trained and measured again, here."""
    seam.prepare()
    form, _, precision = form.partition("/")
    seam.bfloat16_products = (lambda: False) if precision else seam.bfloat16_products
    whole, (rows, add) = str(args.model or gemma.build()), rows_of(form)
    args.model, args.train_vocab = whole, "rows" if add else "none"
    if rows:
        fit(whole, ["ur", "en"], folder / "base", rows=rows, coverage=1.0, add=add, more={})
        args.model = str(folder / "base")
    tensors = checkpoint.headers(Path(args.model))
    parameters, name = sum(tensor.count for tensor in tensors.values()), form + bool(precision) * f"/{precision}"
    line: dict[str, Any] = {"form": name, "rows": vocabulary(tensors), "parameters": parameters}
    line |= {"mb": round(sum(t.size for t in tensors.values()) / 1e6)}
    texts = real_weights.held_out_texts(args.bytes)
    config = real_weights.settings(args, corpus__replay_share=real_weights.REPLAY, pretrain__max_steps=args.steps)
    loaded = seam.load(config.base, args.model)
    line |= {"precision": str(loaded.model.dtype).removeprefix("torch.")}
    line |= {"before": real_weights.measure(loaded, texts), "answers_per_second": answers_per_second(loaded), **fertility(loaded)}
    del loaded
    seam.give_back()
    with timed() as ends:
        run, summary = real_weights.pretrained(folder / "run", config)
    speed = (len(ends) - 1) * config.pretrain.batch_size * config.base.max_seq_length / (ends[-1] - ends[0])
    after = real_weights.measure(seam.load(config.base, args.model, run.file("pretrain", "adapter")), texts)
    line |= {"after": after, "tokens_per_second": round(speed, 1), "words_per_second": round(speed / line["fertility"], 1)}
    return line | {"loss": summary["final_loss"], "peak_mib": peak_mib(), **(gguf(args.model, folder) if args.gguf else {})}


def rows_of(form: str) -> tuple[int, int]:
    """`"32000+4000"` → (32000, 4000); the base as it is, `"whole"`, → (0, 0)."""
    rows, _, add = form.partition("+")
    return (0, 0) if form == "whole" else (int(rows), int(add or 0))


def vocabulary(tensors: dict[str, checkpoint.Tensor]) -> int:
    return next(tensor.shape[0] for name, tensor in tensors.items() if name.endswith("embed_tokens.weight"))


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """When each step of a training ended."""
    done, ends = Watch.step_done, []

    def step_done(watch: Watch) -> None:
        done(watch)
        ends.append(time.monotonic())

    with mock.patch.object(Watch, "step_done", step_done):
        yield ends


def fertility(loaded: seam.Loaded) -> dict[str, float]:
    """Tokens a word of the pack's held-out Urdu."""
    texts = [document.text for document in pack.corpus("ur", "ur", "held_out")]
    tokens = sum(len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    return {"fertility": round(tokens / sum(len(text.split()) for text in texts), 3)}


def answers_per_second(loaded: seam.Loaded) -> float:
    """Greedy answers of 32 tokens, in a batch of eight."""
    prompts = [task.instruction for tasks in pack.seeds("ur").values() for task in tasks[:2]][:ASKED]
    started = time.monotonic()
    answer_all(loaded, prompts, BUDGET, ASKED)
    return round(len(prompts) / (time.monotonic() - started), 3)


def gguf(model: str, folder: Path) -> dict[str, float]:
    """MB of a q8_0 file, and tokens a second that llama.cpp writes with it."""
    from alif_kit.release import gguf as files
    from alif_kit.release import read_back

    path = folder / "x-q8_0.gguf"
    files.convert(Path(model), "q8_0", path)
    tokenizer, started = read_back._tokenizer(Path(model)), time.monotonic()
    ((tokens, _),) = read_back.llama_answers(path, ["پاکستان"], tokenizer, 128)
    return {
        "gguf_mb": round(path.stat().st_size / 1e6),
        "gguf_tokens_per_second": round(len(tokens) / (time.monotonic() - started), 1),
    }


def in_a_process(form: str, args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fit-") as folder:
        options = ["--steps", args.steps, "--bytes", args.bytes, "--model", args.model, *(["--gguf"] if args.gguf else [])]
        command = [sys.executable, __file__, "--forms", form, "--work", folder, *map(str, options)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        result = Path(folder) / "result.json"
        if not result.is_file():
            raise SystemExit(f"{form} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return json.loads(result.read_text("utf-8"))


def table(lines: list[dict[str, Any]]) -> Table:
    texts = list(lines[0]["before"])
    grid = Table(
        "form",
        "rows",
        "M parameters",
        "MB",
        "tokens a word",
        *texts,
        "loss",
        "tokens/s",
        "words/s",
        "answers/s",
        "peak MiB",
        title="bits per byte, before → after",
    )
    for line in lines:
        cells = [f"{line['before'][text]:.3f} → {line['after'][text]:.3f}" for text in texts]
        speed = f"{line['words_per_second']:.0f} ({line['words_per_second'] / lines[0]['words_per_second']:.1f}x)"
        shape = (line["form"], f"{line['rows']:,}", f"{line['parameters'] / 1e6:.0f}", str(line["mb"]), f"{line['fertility']:.2f}")
        measured = (f"{line['loss']:.3f}", f"{line['tokens_per_second']:.0f}")
        grid.add_row(*shape, *cells, *measured, speed, f"{line['answers_per_second']:.2f}", f"{line['peak_mib']:,}")
    return grid


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="", help="another local checkpoint instead of gemma-270m")
    options.add_argument("--forms", default=FORMS, help="rows, or rows+new pieces; /float32 after it")
    options.add_argument("--steps", type=int, default=60, help="optimiser steps of CPT, two rows of 256 tokens each")
    options.add_argument("--bytes", type=int, default=6_000, help="measured bytes of each text, about")
    options.add_argument("--gguf", action="store_true", help="measure a q8_0 file in llama.cpp too")
    options.add_argument("--quick", action="store_true", help="a few steps and bytes, to see that it runs")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    args = parser().parse_args(argv)
    if args.quick:
        args.steps, args.bytes = 6, 1_200
    if args.work:
        write_json(args.work / "result.json", one(args.forms, args, args.work))
        return []
    lines = []
    for form in args.forms.split(","):
        lines.append(in_a_process(form, args))
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    Console(width=200).print(table(lines))
    if args.out:
        write_json(args.out, {"steps": args.steps, "forms": lines})
    return lines


if __name__ == "__main__":
    main()
