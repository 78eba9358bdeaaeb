"""release: are the logits of a merged model those of base and adapter?

In: a base in 16 bit, an adapter, the merged folder, held-out documents of the pack. Out: their difference and the share of places
with the same likeliest token; or why this machine cannot tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, zip_longest
from pathlib import Path
from typing import Any

from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError
from alif_kit.core.progress import Update
from alif_kit.languages import pack
from alif_kit.model.checkpoint import LIBRARIES, Checkpoint
from alif_kit.platforms import machine

TOLERANCE, SAME_TOP = 0.1, 0.9
"""What rounding to 16 bit does not reach: bench/merge_check.py has right merges at 3 % and 98 %, and without one layer of 18 at
11 % and more. The single largest logit says little: by chance it moves by a tenth of the range.
"""
TOKENS, PIECE = 1024, 128
"""Tokens that are compared, where the pack has as many, and how many at a time: of a vocabulary of 262,144 they are 134 MB."""
WAITING = "logits.partial"
PROMPTS = (
    "پاکستان کا دارالحکومت کون سا شہر ہے؟",
    "ایک مختصر کہانی لکھیں۔",
    "The river carries silt from the mountains.",
    "12 × 12 = ",
)


def why_not(base: Checkpoint, adapter: Path) -> str:
    """Why this machine cannot compare; empty where it can, on its card or, where that is too small, on the CPU.

    To be asked before torch looks for cards: one that is too small is hidden from it.
    """
    import psutil

    numbers = sum(tensor.count for tensor in base.tensors.values())
    besides = LIBRARIES + 2 * (adapter / "adapter_model.safetensors").stat().st_size + 12 * PIECE * _vocabulary(base)
    on_card, on_cpu = 2.1 * numbers + besides, 4.2 * numbers + besides  # in 16 bit, in 32
    card, memory = _card_free(), psutil.virtual_memory().available
    if card >= on_card:
        return ""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if memory >= on_cpu:
        return ""
    other = f", or {on_card / 1e9:.1f} on the card, where {card / 1e9:.1f} are" if card else ""
    return f"the whole model takes {on_cpu / 1e9:.1f} GB of memory, and {memory / 1e9:.1f} are free{other}"


def disk(base: Checkpoint) -> int:
    """Bytes that the logits of base and adapter take while they wait for those of the merged model."""
    return 2 * TOKENS * _vocabulary(base)


def _vocabulary(base: Checkpoint) -> int:
    """Rows of the largest matrix, which is that of the vocabulary."""
    return max(base.tensors.values(), key=lambda tensor: tensor.count).shape[0]


def _card_free() -> float:
    """Free bytes of the card that torch would take; 0 without one. Asked in a process of its own, which leaves this one unbound."""
    if not machine.query_gpus():
        return 0.0
    asked = "import torch; print(torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0)"
    return float(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout or 0)


def compare(base: Base, path: str, adapter: Path, merged: Path, language: str, update: Update) -> dict[str, Any]:
    """What merge.json says of the logits. Raises StoppedError where they differ by more than rounding."""
    import torch

    try:
        found = _compared(base, path, adapter, merged, language, update)
    except torch.OutOfMemoryError:
        return {"logits_compared": False, "not_compared": "the card's memory did not hold the whole model"}
    if not (found["logits_difference"] <= TOLERANCE and found["same_top_token"] >= SAME_TOP):
        raise StoppedError(
            f"the merged model differs from base and adapter: logits by {found['logits_difference']:.1%} of their spread "
            f"({TOLERANCE:.0%} allowed), the same likeliest token {found['same_top_token']:.1%} of the time; nothing was published"
        )
    return {"logits_compared": True, **found}


def _compared(base: Base, path: str, adapter: Path, merged: Path, language: str, update: Update) -> dict[str, Any]:
    """One model after the other: what the first says waits on disk, in 16 bit, beside its likeliest tokens."""
    import torch

    from alif_kit.model import unsloth as seam

    waiting = merged / WAITING
    waiting.mkdir()
    try:
        loaded, counted = seam.load(base, path, adapter), count(1)
        pieces = _pieces(loaded.tokenizer, language, min(PIECE, base.max_seq_length))
        for number, logits in enumerate(logits_of(loaded, pieces)):
            torch.save((logits.half(), logits.argmax(-1)), waiting / str(number))
            update(next(counted), "logits of base and adapter", 2 * len(pieces))
        del loaded
        seam.give_back()
        before = (torch.load(waiting / str(number)) for number in range(len(pieces)))
        after = logits_of(seam.load(base, merged), pieces)
        return differences(before, after, lambda: update(next(counted), "logits of the merged model", 2 * len(pieces)))
    finally:
        shutil.rmtree(waiting)


def _pieces(tokenizer: Any, language: str, length: int) -> list[list[int]]:
    """Token ids to compare on: the prompts, then held-out documents of the pack, its own and English ones in turn."""
    documents = (pack.corpus(language, of, "held_out") for of in dict.fromkeys((language, "en")))
    texts = [*PROMPTS, *(document.text for document in chain.from_iterable(zip_longest(*documents)) if document)]
    kept: list[list[int]] = []
    for row in (tokenizer(text)["input_ids"] for text in texts):
        for at in range(0, len(row), length):
            kept.append(row[at : at + length][: TOKENS - sum(map(len, kept))])
    return [piece for piece in kept if piece]


def logits_of(loaded: Any, pieces: list[list[int]]) -> Iterator[Any]:
    """Logits of each piece, [T, vocabulary], on the CPU."""
    import torch

    from alif_kit.model import unsloth as seam

    for piece in pieces:
        with torch.no_grad(), seam.autocast(loaded.model):
            logits = loaded.model(input_ids=torch.tensor([piece], device=loaded.device)).logits[0]
        yield logits.float().cpu()


def nats(logits: Any, row: list[int]) -> float:
    """Nats of a row's tokens 1.. of its logits, [T, vocabulary]."""
    import torch

    return float(torch.nn.functional.cross_entropy(torch.as_tensor(logits[:-1]), torch.tensor(row[1:]), reduction="sum"))


def differences(before: Iterable[tuple[Any, Any]], after: Iterable[Any], step: Callable[[], None]) -> dict[str, Any]:
    """Of logits and likeliest tokens before, and logits after, piece by piece: the root mean square of their difference as a share
    of their spread, and the share of the places with the same likeliest token.
    """
    off, spread, same, places = 0.0, 0.0, 0, 0
    for (a, top), b in zip(before, after, strict=True):
        a = a.float()
        off += float((a - b).double().square().sum())
        spread += float((a - a.mean(-1, keepdim=True)).double().square().sum())
        same, places = same + int((top == b.argmax(-1)).sum()), places + len(b)
        step()
    difference = (off / spread) ** 0.5 if spread else off
    return {
        "logits_difference": round(difference, 6),
        "same_top_token": round(same / places, 4),
        "tolerance": TOLERANCE,
        "n": places,
    }
