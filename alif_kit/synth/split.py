"""synth: which accepted examples train and which are held out, in Urdu-Eval's manner: a share of every category.

In: the pool, the pack's seeds. Out: two lists, and no near-duplicate across them. Novelty has compared tasks as they came in, but
not an input with another task's output: a sentence translated one way and back, a passage that is one task's text and another's
answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from alif_kit.core.records import Example, SeedTask, by_category, stable_id
from alif_kit.languages.text import comparison_tokens
from alif_kit.synth.novelty import PAYLOAD_TOKENS, NoveltyIndex, compared


def split(
    pool: list[Example], share: float, seed: int, threshold: float = 0.7, seeds: Iterable[SeedTask] = ()
) -> tuple[list[Example], list[Example]]:
    """Hold out `share` of every category, at least one of each that has two; which ones, content and seed decide.

    An example whose instruction, input or output has a ROUGE-L F1 above `threshold` with one of a training example, or of the
    `seeds`, which may be trained on too, goes to the training side, so the held-out side may be a little smaller.
    """
    held: set[str] = set()
    for members in by_category(pool).values():
        ids = sorted((e.id for e in members), key=lambda i: stable_id(seed, i))
        held |= set(ids[: max(1, round(len(ids) * share))] if len(ids) > 1 else ())
    train = [*seeds, *(e for e in pool if e.id not in held)]
    held -= near_training(train, [e for e in pool if e.id in held], threshold)
    return [e for e in pool if e.id not in held], [e for e in pool if e.id in held]


def near_training(train: Sequence[SeedTask], held: list[Example], threshold: float) -> set[str]:
    """Ids of held-out examples that are near a training example, or near one that is."""
    index, near, moved = NoveltyIndex(threshold), set(), train
    while moved:
        for tokens in chain.from_iterable(map(payloads, moved)):
            index.add(tokens)
        moved = [e for e in held if e.id not in near and not all(map(index.is_novel, payloads(e)))]
        near |= {e.id for e in moved}
    return near


def payloads(example: SeedTask) -> list[list[str]]:
    """What must not stand on both sides: the input where there is one, else the instruction, and an output that is no label."""
    answered = [] if example.labels else comparison_tokens(example.output)
    return [tokens for tokens in (compared(example)[1], answered) if len(tokens) >= PAYLOAD_TOKENS]
