"""Scoring options over one shared prefix against lm-eval's own `hf` model, and batches sorted by length against one at a time.

    python bench/evaluation.py [--questions 24] [--answers 24] [--file urdu_mmlu.json]

On gemma-270m in float32, on this machine, side by side in one run. Questions have four options: the language pack's own, or
those of a file in UrduMMLU's format. Each pair is run twice and the faster pass counts. Printed: options or texts a second, their
ratio, and the largest difference between the two ways: equal numbers are what makes a ratio worth having.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from alif_kit.core import config
from alif_kit.evaluation.generate import answer_all
from alif_kit.evaluation.shared_prefix import language_model
from alif_kit.evaluation.tasks import utils
from alif_kit.languages import pack
from alif_kit.languages.contamination import rows_of
from alif_kit.model import unsloth as seam
from alif_kit.model import without_hub
from alif_kit.model.chat_format import conversation_text

LENGTH = 2048


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--base", default="gemma-270m", help="gemma-270m, tiny, or a folder")
    options.add_argument("--questions", type=int, default=24)
    options.add_argument("--answers", type=int, default=24)
    options.add_argument("--tokens", type=int, default=24, help="new tokens of each answer")
    options.add_argument("--file", default="", help="questions in UrduMMLU's format instead of the pack's")
    asked = options.parse_args()
    base = config.Base(asked.base, load_in_4bit=False, max_seq_length=LENGTH)
    loaded = seam.load(base, without_hub.resolve(asked.base, "ur", 3407))
    questions = four_options(asked.file, asked.questions)
    print(f"{asked.base}, {len(questions)} questions of four options, {asked.answers} answers of {asked.tokens} tokens\n")
    print(f"{'':<44}{'stock or one by one':>22}{'ours':>12}{'ratio':>8}  largest difference")
    for listed in (False, True):
        name = "option texts, options listed before" if listed else "option texts"
        compare_prefixes(loaded, name, requests(loaded.tokenizer, questions, listed=listed))
    compare_batches(loaded, questions, asked.answers, asked.tokens)


def four_options(file: str, count: int) -> list[dict[str, Any]]:
    """Questions with four options, ready to ask."""
    place = file or str(pack.folder("ur") / "evaluation" / "knowledge.json")
    rows = [row for row in rows_of(place) if sum(bool(o) for o in row["options"].values()) == 4]
    return [utils.prepare(row) for row in rows[:count]]


def requests(tokenizer: Any, questions: list[dict[str, Any]], *, listed: bool) -> list[Any]:
    """What lm-eval asks of a model: ((context, continuation), context ids, continuation ids), four to a question."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    messages = [{"role": "user", "content": utils.prompt(q, "ur") if listed else q["question"]} for q in questions]
    contexts = [conversation_text([message], tokenizer, "native") for message in messages]
    pairs = [(c, option) for c, q in zip(contexts, questions, strict=True) for option in q["options"]]
    return [((c, o), ids(c), ids(o)) for c, o in pairs]


def compare_prefixes(loaded: seam.Loaded, name: str, asked: list[Any]) -> None:
    from lm_eval.models.huggingface import HFLM

    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=8, max_length=LENGTH)
    ours = language_model(loaded, "native", batch_size=8, max_length=LENGTH)
    slow, expected = faster_of_two(lambda: stock._loglikelihood_tokens(asked, True))
    quick, found = faster_of_two(lambda: ours._loglikelihood_tokens(asked, True))
    difference = max(abs(a[0] - b[0]) for a, b in zip(expected, found, strict=True))
    line(name + ", a second", len(asked) / slow, len(asked) / quick, f"{difference:.1e} nats")


def compare_batches(loaded: seam.Loaded, questions: list[dict[str, Any]], count: int, tokens: int) -> None:
    prompts = [q["question"] for q in questions][:count]
    slow, alone = faster_of_two(lambda: [answer_all(loaded, [p], tokens, 1)[0] for p in prompts])
    quick, together = faster_of_two(lambda: answer_all(loaded, prompts, tokens, 8))
    same = sum(a.text == b.text for a, b in zip(alone, together, strict=True))
    line(
        "answers in batches of 8 by length, a second",
        len(prompts) / slow,
        len(prompts) / quick,
        f"{same} of {len(prompts)} the same",
    )


def faster_of_two(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the faster of two passes, and what it gave."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        value = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), value


def line(name: str, slow: float, quick: float, difference: str) -> None:
    print(f"{name:<44}{slow:>22.2f}{quick:>12.2f}{quick / slow:>8.2f}  {difference}", flush=True)


if __name__ == "__main__":
    main()
