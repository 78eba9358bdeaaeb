"""Which token to put after each document when an Instruct base is pretrained further: the one that ends a document, or a turn?

    python bench/document_separator.py [--model FOLDER] [--steps 40] [--sft-steps 24] [--tests 24] [--quick] [--out FILE.json]

The same continued pretraining (CPT) and fine-tuning (SFT) twice, with one token or the other after each document. The Instruct base
is `--model`, or gemma-270m that is first taught the chat format on half of the pack's seed tasks. In each row, for the texts of
real_weights.py, bits per byte; for Urdu seed tasks that no training saw and for ENGLISH, which an Instruct base knows how to
answer, nats a token of the answer, nats of the token that closes it, and the share of answers of at most 64 tokens that end by
themselves.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import real_weights
from rich.console import Console
from rich.table import Table

from alif_kit.core.config import Config
from alif_kit.core.records import SeedTask, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.corpus import blocks
from alif_kit.evaluation.generate import answer_all, response_nll
from alif_kit.languages import pack
from alif_kit.model import checkpoint, merging
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends, prompt_text, training_text
from alif_kit.training import trainer

BUDGET = 64
ENGLISH = {
    "What is the capital of France?": "The capital of France is Paris.",
    "How many days are there in a week?": "There are seven days in a week.",
    "What colour do you get from blue and yellow?": "Blue and yellow make green.",
    "Which planet is closest to the Sun?": "Mercury is the planet closest to the Sun.",
    "What is 7 plus 5?": "7 plus 5 is 12.",
    "What is the opposite of hot?": "The opposite of hot is cold.",
    "Name a fruit that is yellow.": "A banana is a yellow fruit.",
    "What do bees make?": "Bees make honey.",
    "Is the sentence 'I loved this film' positive or negative?": "The sentence is positive.",
    "What is frozen water called?": "Frozen water is called ice.",
    "In which ocean does Hawaii lie?": "Hawaii lies in the Pacific Ocean.",
    "Write the plural of 'child'.": "The plural of 'child' is 'children'.",
}


def tasks(number: int) -> tuple[list[SeedTask], dict[str, list[SeedTask]]]:
    """Seed tasks to train on, and at most `number` others in each language to ask; the Urdu ones of all categories alike."""
    every = [task for column in zip(*pack.seeds("ur").values(), strict=False) for task in column]
    english = [SeedTask("qa", question, answer) for question, answer in ENGLISH.items()]
    return every[1::2], {"Urdu": every[::2][:number], "English": english[:number]}


def asked(loaded: seam.Loaded, questions: list[SeedTask]) -> dict[str, float]:
    """What the model makes of questions that it has not seen."""
    tokenizer, answer, end, tokens = loaded.tokenizer, 0.0, 0.0, 0
    loaded.model.eval()
    prompts = [prompt_text(task, tokenizer, "native") for task in questions]
    for task, prompt in zip(questions, prompts, strict=True):
        closing = training_text(task, tokenizer, "native").removeprefix(prompt + task.output)
        nats, count = response_nll(loaded, prompt, task.output, 512)
        answer, tokens = answer + nats, tokens + count
        end += response_nll(loaded, prompt + task.output, tokenizer.tokenize(closing)[0], 512)[0]
    answers = answer_all(loaded, prompts, BUDGET, 8, ends=answer_ends(tokenizer, "native"))
    stopped = sum(answer.stopped for answer in answers) / len(answers)
    return {"answer": round(answer / tokens, 3), "end": round(end / len(questions), 3), "stopped": round(stopped, 3)}


def instructed(args: argparse.Namespace, folder: Path, known: list[SeedTask]) -> str:
    """gemma-270m after one short CPT, which the stages ask for, and SFT on the tasks: merged, an Instruct base."""
    config = settings(args, pretrain__max_steps=1, pretrain__learning_rate=1e-8, finetune__max_steps=args.sft_steps)
    run, _ = real_weights.pretrained(folder / "instruct", config)
    tuned(run, known)
    target = folder / "base"
    merging.merge(checkpoint.look(config.base.model), run.file("finetune", "adapter"), target, "native", lambda *_: None)
    return str(target)


def settings(args: argparse.Namespace, **changes: Any) -> Config:
    return real_weights.settings(args, base__chat_format="native", corpus__replay_share=real_weights.REPLAY, **changes)


def tuned(run: Run, known: list[SeedTask]) -> None:
    write_jsonl(run.file("data", "train.jsonl"), known)
    trainer.finetune(run)


def arm(
    args: argparse.Namespace, folder: Path, token: str, known: list[SeedTask], questions: dict[str, list[SeedTask]]
) -> list[dict[str, Any]]:
    """CPT with `token` after each document, then SFT: a row of each."""
    texts = real_weights.held_out_texts(args.bytes)
    config = settings(args, pretrain__max_steps=args.steps, finetune__max_steps=args.sft_steps)
    with mock.patch.object(blocks, "document_end", lambda tokenizer: tokenizer.convert_tokens_to_ids(token)):
        run, _ = real_weights.pretrained(folder / "arm", config)
    rows = [row(f"CPT, {token}", config, run.file("pretrain", "adapter"), texts, questions)]
    tuned(run, known)
    return [*rows, row(f"the same, + SFT, {token}", config, run.file("finetune", "adapter"), texts, questions)]


def row(
    name: str, config: Config, adapter: Path | None, texts: real_weights.Texts, questions: dict[str, list[SeedTask]]
) -> dict[str, Any]:
    loaded = seam.load(config.base, config.base.model, adapter)
    answers = {language: asked(loaded, these) for language, these in questions.items()}
    line = {"model": name, "bits_per_byte": real_weights.measure(loaded, texts), "answers": answers}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return line


def separators(model: str) -> tuple[str, str]:
    """The token that ends a document and the one that closes a turn, as texts."""
    seam.prepare()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    document = blocks.document_end(tokenizer)
    turn = next(number for number in sorted(answer_ends(tokenizer, "native")) if number != document)
    return tokenizer.convert_ids_to_tokens(document), tokenizer.convert_ids_to_tokens(turn)


def table(rows: list[dict[str, Any]]) -> Table:
    measures = {"answer": "nats a token", "end": "its end, nats", "stopped": "ends by itself"}
    heads = [f"{language} answers\n{head}" for language in rows[0]["answers"] for head in measures.values()]
    grid = Table("model", *(f"{text}\nbits per byte" for text in rows[0]["bits_per_byte"]), *heads)
    for line in rows:
        likely = [f"{value:.3f}" for value in line["bits_per_byte"].values()]
        grid.add_row(line["model"], *likely, *(f"{of[m]:.3f}" for of in line["answers"].values() for m in measures))
    return grid


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="", help="an Instruct checkpoint with a chat template; made of gemma-270m without it")
    options.add_argument("--steps", type=int, default=40, help="optimiser steps of CPT, two rows of 256 tokens each")
    options.add_argument("--sft-steps", type=int, default=24, help="optimiser steps of SFT, two tasks each")
    options.add_argument("--tests", type=int, default=24, help="seed tasks to ask")
    options.add_argument("--bytes", type=int, default=4_000, help="measured bytes of each text, about")
    options.add_argument("--quick", action="store_true", help="a few steps and bytes, to see that it runs")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    args = parser().parse_args(argv)
    args.train_vocab = "none"
    if args.quick:
        args.steps, args.sft_steps, args.tests, args.bytes = 2, 2, 2, 600
    known, questions = tasks(args.tests)
    with tempfile.TemporaryDirectory(prefix="document-separator-") as scratch:
        args.model = args.model or instructed(args, Path(scratch), known)
        texts = real_weights.held_out_texts(args.bytes)
        rows = [row("base", settings(args), None, texts, questions)]
        for number, token in enumerate(separators(args.model)):
            rows += arm(args, Path(scratch, str(number)), token, known, questions)
    Console(width=150).print(table(rows))
    if args.out:
        write_json(args.out, {"steps": args.steps, "sft_steps": args.sft_steps, "rows": rows})
    return rows


if __name__ == "__main__":
    main()
