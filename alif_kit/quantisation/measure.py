"""quantisation: one form of a model, measured in a process of its own, so that its memory is its own.

    python -m alif_kit.quantisation.measure RUN FORM PATH LIMIT OUT

In: a run (its questions and frames), a form (`16bit`, `8bit`, `nf4`, or a GGUF's quantisation), the merged folder or the file, how
many examples of each set. Out: a JSON of bytes on disk, memory, speeds, and one score per document and question. Forms are asked
the same token ids by the same code, one at a time, so that the runtime and the rounding of the weights are all that differs.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from alif_kit.core import Run
from alif_kit.core.progress import bar
from alif_kit.core.records import write_json
from alif_kit.evaluation import metrics, scoring, sets
from alif_kit.evaluation.generate import text_ids, windowed_nll
from alif_kit.evaluation.tasks import utils
from alif_kit.languages import pack
from alif_kit.model.chat_format import answer_ends, conversation_text
from alif_kit.quantisation.engines import WINDOW, LlamaCpp, Transformers, on_gpu

Engine = Transformers | LlamaCpp
BITS = ("16bit", "8bit", "nf4")
PROMPT, ANSWER, REPEATS = 256, 32, 3
"""Tokens of the prompt and of the answer that are timed, and how often; the median counts."""
BUDGET = 96
"""New tokens for a word problem."""
READ = 600
"""Characters of each document that are read: many beginnings say more than few whole texts in the same time."""


def measure(run: Run, form: str, path: Path, limit: int, scratch: Path) -> dict[str, Any]:
    """Everything of one form; the sets are those of the run's suite, `limit` examples of each."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.file("release", "merged"))
    works = {name: sets.evenly(values, limit) for name, values in _sets(run).items()}
    text = text_ids(tokenizer, pack.corpus(run.config.language, run.config.language)[0].text)
    _first_use()
    before = _memory("VmRSS")
    engine: Engine = Transformers(path, form) if form in BITS else LlamaCpp(path)
    speeds = {
        "prompt_tokens_per_second": PROMPT / _seconds(partial(engine.read, (text * PROMPT)[:PROMPT])),
        "generation_tokens_per_second": ANSWER / _seconds(partial(engine.write, text[:8], ANSWER)),
    }
    on_card = on_gpu() and form in BITS
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_card else (_memory("VmHWM") - before) / 1024
    engine.for_scores()
    scores = _scores(run, engine, tokenizer, works, form)
    found = {"form": form, "bytes": engine.size(scratch), "memory_mib": round(memory, 1)}
    found |= {"device": torch.cuda.get_device_name(0) if on_gpu() else "CPU", "threads": os.cpu_count()}
    return found | {name: round(value, 1) for name, value in speeds.items()} | {"scores": scores}


def _sets(run: Run) -> dict[str, list[Any]]:
    """Documents, questions with options and word problems, as far as the suite has them."""
    works = {w.name: w for w in sets.gather(run)[0]}
    found: dict[str, list[Any]] = {name: list(w.documents) for name, w in works.items() if w.documents}
    if "urdu_mmlu_cloze" in works:
        found["choice"] = [utils.prepare(row) for row in works["urdu_mmlu_cloze"].task["rows"]]
    if "word_problems" in works:
        found["numbers"] = list(works["word_problems"].items)
    return found


def _scores(run: Run, engine: Engine, tokenizer: Any, works: dict[str, list[Any]], form: str) -> dict[str, list[list[Any]]]:
    """[id, score, weight] of every example, by set; what a form is asked is the same for all."""
    ask = {"choice": _choice, "numbers": _number}
    scores: dict[str, list[list[Any]]] = {name: [] for name in works}
    for name, values in works.items():
        with bar(f"{form} {name}", len(values)) as update:
            for n, value in enumerate(values, 1):
                scores[name].append(ask.get(name, _bits)(run, engine, tokenizer, value))
                update(n)
    return scores


def _bits(run: Run, engine: Engine, tokenizer: Any, document: Any) -> list[Any]:
    text = document.text[:READ]
    size = len(text.encode("utf-8"))
    nats = windowed_nll(text_ids(tokenizer, text), WINDOW, engine.nats)
    return [document.id, metrics.bits_per_byte(nats, size), size]


def _choice(run: Run, engine: Engine, tokenizer: Any, question: dict[str, Any]) -> list[Any]:
    """1 where the right option is the likeliest for its length in bytes, as lm-eval's acc_norm."""
    prompt = _framed(run, tokenizer, [{"role": "user", "content": question["question"]}])
    context = tokenizer(prompt, add_special_tokens=False)["input_ids"][-WINDOW:]
    ids = [tokenizer(option, add_special_tokens=False)["input_ids"] for option in question["options"]]
    likelihoods = engine.options(context, ids)
    best = max(range(len(ids)), key=lambda i: likelihoods[i] / len(question["options"][i].encode("utf-8")))
    return [str(question["id"]), int(best == question["answer"]), 1]


def _number(run: Run, engine: Engine, tokenizer: Any, item: sets.Item) -> list[Any]:
    """1 where the number of the answer is the right one."""
    prompt = tokenizer(_framed(run, tokenizer, [dict(m) for m in item.messages]), add_special_tokens=False)["input_ids"]
    ids = engine.answer(prompt[-WINDOW:], BUDGET, answer_ends(tokenizer, run.config.base.chat_format))
    _, scores, _ = scoring.word_problem(item, tokenizer.decode(ids), run.config.language)
    return [item.id, int(scores["accuracy"]), 1]


def _framed(run: Run, tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return conversation_text(messages, tokenizer, run.config.base.chat_format, run.config.mixture.system)


def _seconds(action: Callable[[], None]) -> float:
    """Median of some runs after one that warms up."""
    action()
    return statistics.median(timeit.repeat(action, number=1, repeat=REPEATS))


def _first_use() -> None:
    """Libraries that load on first use must not be counted as the model's memory."""
    import bitsandbytes  # noqa: F401
    import torch

    torch.nn.Linear(8, 8)(torch.zeros(1, 8))


def _memory(name: str) -> float:
    """KiB of this process: VmRSS now, VmHWM at its peak."""
    return float(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))  # type: ignore[union-attr]


if __name__ == "__main__":
    import logging
    import tempfile

    from transformers.utils.logging import disable_progress_bar

    logging.disable(logging.WARNING)  # bitsandbytes says at every layer how it casts
    disable_progress_bar()
    folder, form, path, limit, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        write_json(Path(out), measure(Run.resume(Path(folder)), form, Path(path), int(limit), Path(scratch)))
