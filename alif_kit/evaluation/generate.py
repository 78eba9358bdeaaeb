"""evaluation: likelihoods and answers of one loaded model.

In: a model, texts, prompts. Out: nats over text, and greedy answers with whether each one stopped by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from alif_kit.corpus.blocks import document_end
from alif_kit.model import unsloth as seam

ROWS = 256


@dataclass(frozen=True)
class Answer:
    """One greedy answer; `stopped` says that the model ended it, not the budget."""

    text: str
    stopped: bool
    tokens: int


def text_nll(loaded: seam.Loaded, text: str, window: int) -> float:
    """Nats of a text, each token counted once, in windows of `window` tokens (see `windowed_nll`)."""
    return windowed_nll(text_ids(loaded.tokenizer, text), window, partial(piece_nll, loaded.model))


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text after the token that begins one, from which its first is foretold: BOS, else what ends a document."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else document_end(tokenizer)
    return [start, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def windowed_nll(ids: list[int], window: int, nats: Callable[[list[int], int], float]) -> float:
    """Nats of ids[1:], each once, over windows of `window` tokens that all begin with ids[0], the token that begins a text.

    A window scores what the one before left, and reads `window // 2` tokens before that as context: the stride is
    `window - 1 - window // 2`. Gemma never learnt from a text without its first token, and foretells badly without it.
    `nats(piece, skip)` gives those of a piece's tokens 1.., less the first `skip` of them.
    """
    total, done = nats(ids[:window], 0), min(window, len(ids))
    while done < len(ids):
        context = min(window // 2, window - 2)
        piece = ids[:1] + ids[done - context : done - context + window - 1]
        total += nats(piece, context)
        done += len(piece) - 1 - context
    return total


def piece_nll(model: Any, piece: list[int], skip: int) -> float:
    """Nats of a piece's tokens 1.., less the first `skip` of them."""
    import torch

    with torch.no_grad():
        return float(_token_losses(model, torch.tensor([piece], device=model.device))[skip:].sum())


def _token_losses(model: Any, ids: Any) -> Any:
    """Nats of tokens 1.. of a [1, T] row: shape [T-1]. The logits, 262,144 a token for Gemma, turn float32 a few rows at a time."""
    import torch

    with seam.autocast(model):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1]
    pieces = zip(logits.split(ROWS), ids[0, 1:].split(ROWS), strict=True)
    return torch.cat([torch.nn.functional.cross_entropy(rows.float(), targets, reduction="none") for rows, targets in pieces])


def response_nll(loaded: seam.Loaded, prompt: str, response: str, limit: int) -> tuple[float, int]:
    """Nats and tokens of the response (its EOS included) given the prompt; past `limit` tokens the prompt loses its start."""
    tokenizer = loaded.tokenizer
    answer = tokenizer(response, add_special_tokens=False)["input_ids"][: limit // 2]
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"][-(limit - len(answer)) :]
    return piece_nll(loaded.model, before + answer, len(before) - 1), len(answer)


def answer_all(
    loaded: seam.Loaded,
    prompts: list[str],
    max_new_tokens: int,
    batch_size: int,
    on_done: Callable[[int], None] = lambda done: None,
    ends: Collection[int] = (),
) -> list[Answer]:
    """Greedy answers in the order of the prompts; batches hold prompts of like length so that little is padding.

    An answer ends at EOS, at the model's own list of such tokens, or at one of `ends` (chat_format.answer_ends).
    """
    seam.ready_to_answer(loaded)
    ends = _ends(loaded) | set(ends)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        answers.update(zip(batch, _answer_batch(loaded, [prompts[i] for i in batch], max_new_tokens, ends), strict=True))
        on_done(len(answers))
    return [answers[i] for i in range(len(prompts))]


def _answer_batch(loaded: seam.Loaded, prompts: list[str], max_new_tokens: int, ends: set[int]) -> list[Answer]:
    import torch

    tokenizer = loaded.tokenizer
    batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(loaded.device)
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        options = {"max_new_tokens": max_new_tokens, "eos_token_id": sorted(ends), "pad_token_id": tokenizer.pad_token_id}
        out = loaded.model.generate(**batch, do_sample=False, **options)
    return [_cut(tokenizer, row[batch["input_ids"].shape[1] :].tolist(), ends) for row in out]


def _ends(loaded: seam.Loaded) -> set[int]:
    listed = loaded.model.generation_config.eos_token_id
    return {loaded.tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])} - {None}


def _cut(tokenizer: Any, ids: list[int], ends: set[int]) -> Answer:
    stop = next((n for n, i in enumerate(ids) if i in ends), None)
    kept = ids if stop is None else ids[:stop]
    return Answer(tokenizer.decode(kept, skip_special_tokens=True).strip(), stop is not None, len(kept))
