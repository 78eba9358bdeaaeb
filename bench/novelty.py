"""Novelty at scale: the kit's index against the reference way (ROUGE-L against the whole pool), side by side in one run.

    python bench/novelty.py [--sizes 1000,5000,20000,50000] [--candidates 3000] [--reference-candidates 3]

The pool is synthetic and Zipfian: half of it fresh sentences, half templates with changed payload words, as instruction pools
are. The reference compares a candidate with every kept sequence in pure Python, as the paper's script does; at 50,000 it
manages well under one a second, so it is timed on a few candidates, and mismatches are counted against a full comparison by
rapidfuzz with the same float formula.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc

from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist
from rich.console import Console
from rich.table import Table

from alif_kit.synth.novelty import NoveltyIndex, rouge_l_f1

VOCABULARY = 20_000


def pool_of(size: int, seed: int, template_share: float = 0.5) -> list[list[str]]:
    """Token sequences of 6 to 40 tokens; `template_share` of them reuse one of 300 templates."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(VOCABULARY)]
    weights = [1 / (i + 10) for i in range(VOCABULARY)]
    templates = [draw.choices(words, weights, k=draw.randint(6, 18)) for _ in range(300)]
    pool = []
    for _ in range(size):
        fresh = draw.choices(words, weights, k=draw.randint(6, 26))
        pool.append(draw.choice(templates) + fresh[: draw.randint(3, 20)] if draw.random() < template_share else fresh)
    return pool


def python_lcs(left: list[str], right: list[str]) -> int:
    """The textbook table, one row kept: what the reference spends its time on."""
    row = [0] * (len(right) + 1)
    for a in left:
        diagonal = 0
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def reference_best(pool: list[list[str]], tokens: list[str]) -> float:
    return max(rouge_l_f1(python_lcs(kept, tokens), len(kept), len(tokens)) for kept in pool)


def full_comparison(pool: list[list[str]], tokens: list[str]) -> tuple[float, int]:
    """Every kept sequence, by rapidfuzz: the truth that mismatches are counted against."""
    common = cdist([tokens], pool, scorer=LCSseq.similarity)[0]
    scores = [rouge_l_f1(int(c), len(kept), len(tokens)) for c, kept in zip(common, pool, strict=True)]
    best = max(scores)
    return (best, scores.index(best)) if best > 0 else (0.0, -1)


def rate(work, items: list) -> tuple[float, list]:
    started = time.perf_counter()
    results = [work(item) for item in items]
    return len(items) / (time.perf_counter() - started), results


def measure(size: int, args: argparse.Namespace) -> tuple[str, ...]:
    pool = pool_of(size, seed=size)
    candidates = pool_of(args.candidates, seed=1)
    candidates[::3] = [list(tokens[:-1]) + ["w3"] for tokens in random.Random(2).choices(pool, k=len(candidates[::3]))]
    tracemalloc.start()
    index = NoveltyIndex()
    for tokens in pool:
        index.add(tokens)
    memory = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    decisions, said = rate(index.is_novel, candidates)
    maxima, best = rate(index.best_match, candidates)
    reference, _ = rate(lambda tokens: reference_best(pool, tokens), candidates[: args.reference_candidates])
    truth = [full_comparison(pool, tokens) for tokens in candidates[: args.checked]]
    wrong = sum(a != b or novel != (b[0] <= 0.7) for a, novel, b in zip(best, said, truth, strict=False))
    return (
        f"{size:,}",
        f"{decisions:,.0f}",
        f"{maxima:,.0f}",
        f"{reference:.2f}",
        f"{decisions / reference:,.0f}",
        f"{memory:.0f}",
        f"{wrong} of {len(truth):,}",
    )


def build_time(size: int) -> float:
    """Seconds to judge and add every row of a pool."""
    pool = pool_of(size, seed=7)
    started, index = time.perf_counter(), NoveltyIndex()
    for tokens in pool:
        if index.is_novel(tokens):
            index.add(tokens)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,5000,20000,50000", help="pool sizes")
    parser.add_argument("--candidates", type=int, default=3000, help="candidates timed at each size")
    parser.add_argument("--checked", type=int, default=3000, help="candidates checked against a full comparison at each size")
    parser.add_argument("--reference-candidates", type=int, default=3, help="candidates the reference is timed on")
    args = parser.parse_args()
    table = Table("pool", "decisions/s", "exact maxima/s", "reference/s", "ratio", "index MiB", "mismatches")
    for size in map(int, args.sizes.split(",")):
        table.add_row(*measure(size, args))
    Console(width=110).print(table)
    print(f"whole pool of 51,686 judged and built in {build_time(51_686):.1f} s on one core")


if __name__ == "__main__":
    main()
