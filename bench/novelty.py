"""Novelty at scale: the kit's index against the reference way (ROUGE-L against the whole pool), side by side in one run.

    python bench/novelty.py [--sizes 1000,5000,20000,50000] [--candidates 3000] [--reference-candidates 3] [--templates 0.5,0.9]

The pools are synthetic and Zipfian: fresh sentences, and templates with changed payload words, as instruction pools are; one
table for each share of templates. A third of the candidates are kept sequences with the last token changed, the others are drawn
as the pool was, from the same templates. The reference is what the paper's script does with rouge_score, in one process: the
table of the longest common subsequence in pure Python for every kept sequence. At 50,000 it manages well under one candidate a
second, so it is timed on a few; mismatches of decision, maximum or index are counted against a full comparison by rapidfuzz with
rouge_score's float formula. Rates are per second of CPU time of this one process; memory is the peak of tracemalloc while the
index is built, its copies of the tokens included.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable
from itertools import accumulate

import numpy
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist
from rich.console import Console
from rich.table import Table

from alif_kit.synth.novelty import NoveltyIndex

VOCABULARY = 20_000
THRESHOLD = 0.7
WHOLE = 51_686
WORDS = [f"w{i}" for i in range(VOCABULARY)]
WEIGHTS = list(accumulate(1 / (i + 10) for i in range(VOCABULARY)))


def sentence(draw: random.Random, shortest: int, longest: int) -> list[str]:
    return draw.choices(WORDS, cum_weights=WEIGHTS, k=draw.randint(shortest, longest))


def pool_of(size: int, seed: int, template_share: float) -> list[list[str]]:
    """Token sequences of 6 to 38 tokens; `template_share` of them reuse one of 300 templates, the same for every seed."""
    draw = random.Random(0)
    templates = [sentence(draw, 6, 18) for _ in range(300)]
    draw = random.Random(seed)
    pool = []
    for _ in range(size):
        templated = draw.random() < template_share
        pool.append(draw.choice(templates) + sentence(draw, 3, 20) if templated else sentence(draw, 6, 26))
    return pool


def candidates_for(pool: list[list[str]], size: int, template_share: float) -> list[list[str]]:
    candidates = pool_of(size, seed=1, template_share=template_share)
    candidates[::3] = [[*tokens[:-1], "w3"] for tokens in random.Random(2).choices(pool, k=len(candidates[::3]))]
    return candidates


def lcs_length(target: list[str], prediction: list[str]) -> int:
    """The full table, filled as rouge_score 0.1.2 does (`_lcs_table`): what the reference spends its time on."""
    rows, columns = len(target), len(prediction)
    table = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            if target[i - 1] == prediction[j - 1]:
                table[i][j] = table[i - 1][j - 1] + 1
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def fmeasure(common: int, target: int, prediction: int) -> float:
    """The formula of rouge_score 0.1.2: `_score_lcs` and `scoring.fmeasure`."""
    precision, recall = common / prediction, common / target
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def reference_best(pool: list[list[str]], tokens: list[str]) -> tuple[float, int]:
    scores = [fmeasure(lcs_length(tokens, kept), len(tokens), len(kept)) for kept in pool]
    best = max(scores)
    return (best, scores.index(best)) if best > 0 else (0.0, -1)


def full_comparison(pool: list[list[str]], candidates: list[list[str]]) -> list[tuple[float, int]]:
    """Best score and its lowest index against every kept sequence, by rapidfuzz: the truth that mismatches are counted against."""
    character = {word: chr(0xE000 + i) for i, word in enumerate(WORDS)}
    kept, asked = (["".join(map(character.__getitem__, tokens)) for tokens in rows] for rows in (pool, candidates))
    lengths = numpy.array([len(tokens) for tokens in pool])
    truth = []
    for text in asked:
        common = cdist([text], kept, scorer=LCSseq.similarity)[0]
        table = [[fmeasure(c, m, len(text)) for m in range(1, lengths.max() + 1)] for c in range(len(text) + 1)]
        scores = numpy.array(table)[common, lengths - 1]
        best = int(scores.argmax())
        truth.append((float(scores[best]), best) if scores[best] > 0 else (0.0, -1))
    return truth


def rate(work: Callable, items: list) -> tuple[float, list]:
    """Items per second of CPU time, and what came out."""
    started = time.process_time()
    results = [work(item) for item in items]
    return len(items) / (time.process_time() - started), results


def indexed(pool: list[list[str]]) -> tuple[NoveltyIndex, float]:
    """The index of a pool, and the MiB it took at its peak, with strings of its own as a tokenizer would make them."""
    tracemalloc.start()
    index = NoveltyIndex(THRESHOLD)
    for tokens in pool:
        index.add([token[:1] + token[1:] for token in tokens])
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return index, peak


def measure(size: int, template_share: float, args: argparse.Namespace) -> tuple[str, ...]:
    pool = pool_of(size, seed=size, template_share=template_share)
    candidates = candidates_for(pool, args.candidates, template_share)
    index, memory = indexed(pool)
    index.best_match(candidates[0])  # loads the libraries
    decisions, novel = rate(index.is_novel, candidates)
    maxima, best = rate(index.best_match, candidates)
    reference, by_reference = rate(lambda tokens: reference_best(pool, tokens), candidates[: args.reference_candidates])
    truth = full_comparison(pool, candidates[: args.checked])
    wrong = sum(a != b or said != (b[0] <= THRESHOLD) for a, said, b in zip(best, novel, truth, strict=False))
    wrong += sum(a != b for a, b in zip(best, by_reference, strict=False))
    rates = (f"{decisions:,.0f}", f"{maxima:,.0f}", f"{reference:.2f}", f"{decisions / reference:,.0f}")
    return f"{size:,}", *rates, f"{memory:.0f}", f"{wrong} of {len(truth):,}", f"{1 - sum(novel) / len(novel):.0%}"


def build_time(template_share: float) -> tuple[float, int]:
    """CPU seconds to judge every row of a whole pool and add the novel ones, and how many those are."""
    pool = pool_of(WHOLE, seed=7, template_share=template_share)
    started, index = time.process_time(), NoveltyIndex(THRESHOLD)
    for tokens in pool:
        if index.is_novel(tokens):
            index.add(tokens)
    return time.process_time() - started, len(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,5000,20000,50000", help="pool sizes")
    parser.add_argument("--candidates", type=int, default=3000, help="candidates timed at each size")
    parser.add_argument("--checked", type=int, default=3000, help="candidates checked against a full comparison at each size")
    parser.add_argument("--reference-candidates", type=int, default=3, help="candidates the reference is timed on")
    parser.add_argument("--templates", default="0.5,0.9", help="shares of the pool that reuse a template, a table each")
    args = parser.parse_args()
    for share in map(float, args.templates.split(",")):
        columns = ("pool", "decisions/s", "exact maxima/s", "reference/s", "ratio", "peak MiB", "mismatches", "not novel")
        table = Table(*columns, title=f"{share:.0%} templates")
        for size in map(int, args.sizes.split(",")):
            table.add_row(*measure(size, share, args))
        Console(width=120).print(table)
        seconds, kept = build_time(share)
        print(f"whole pool of {WHOLE:,} judged and {kept:,} of them added in {seconds:.1f} s of CPU time, one core")


if __name__ == "__main__":
    main()
