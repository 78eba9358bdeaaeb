"""evaluation: measures a stage of the run, and the base beside it, on held-out documents and held-out tasks.

In: the pack's held-out documents, data/eval.jsonl, the adapters. Out: evaluation/<stage>.jsonl (one row per task) and
evaluation/results.json (one row per stage, every figure with its n). Same prompts, budget and parser for every stage.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from alif_kit import model as seam
from alif_kit import pack
from alif_kit.chat_format import answer_ends, prompt_text, training_text
from alif_kit.evaluation import metrics
from alif_kit.evaluation.generate import Answer, answer_all, response_nll, text_nll
from alif_kit.held_out import held_out
from alif_kit.progress import bar
from alif_kit.records import Example, read_jsonl, write_json, write_jsonl
from alif_kit.run_folder import Run
from alif_kit.text import urdu_purity

STAGES = ("base", "pretrain", "finetune")


def evaluate(run: Run, base_path: str) -> dict[str, Any]:
    """Measure base, pretrained and fine-tuned model; what an earlier, killed run finished is kept."""
    results = run.file("evaluation", "results.json")
    if run.done("evaluate"):
        return _read(results)
    data = run.require("data", "eval.jsonl", stage="generate")
    examples = spread(list(read_jsonl(data, Example)), run.config.evaluation.max_examples)
    with run.stage("evaluate") as facts:
        summary = {}
        for stage in STAGES:
            summary[stage] = _stage(run, stage, base_path, examples)
            facts["tokens_out"] += summary[stage]["answer_tokens"]
        write_json(results, summary)
    return summary


def spread(examples: list[Example], limit: int) -> list[Example]:
    """At most `limit` examples, taken from the categories in turn so that each is represented."""
    seen: Counter[str] = Counter()
    rank = {}
    for example in examples:
        rank[example.id] = seen[example.category]
        seen[example.category] += 1
    return sorted(examples, key=lambda e: (rank[e.id], e.category))[:limit]


def _stage(run: Run, stage: str, base_path: str, examples: list[Example]) -> dict[str, Any]:
    done = run.file("evaluation", f"{stage}.json")
    if done.is_file():
        return _read(done)
    adapter = None if stage == "base" else run.require(stage, "adapter", stage=stage)
    if stage == "finetune" and run.config.lora.after_pretraining == "merge":
        base_path = str(run.require("pretrain", "merged", stage="finetune"))
    loaded = seam.load(run.config.base, base_path, adapter)
    rows = _task_rows(run, stage, loaded, examples)
    summary = {**_language_modelling(run, loaded), **summarise(rows)}
    write_jsonl(run.file("evaluation", f"{stage}.jsonl"), rows)
    write_json(done, summary)
    return summary


def _language_modelling(run: Run, loaded: seam.Loaded) -> dict[str, Any]:
    """Bits per UTF-8 byte on held-out documents, in the pack's language and in English."""
    figures: dict[str, Any] = {}
    for language in (run.config.language, "en"):
        texts = [d.text for d in held_out(run, language)]
        nll = sum(text_nll(loaded, text, run.config.base.max_seq_length) for text in texts)
        size = sum(len(text.encode("utf-8")) for text in texts)
        figures |= {f"bits_per_byte_{language}": metrics.bits_per_byte(nll, size), f"documents_{language}": len(texts)}
    return figures


def _task_rows(run: Run, stage: str, loaded: seam.Loaded, examples: list[Example]) -> list[dict[str, Any]]:
    evaluation, chat_format = run.config.evaluation, run.config.base.chat_format
    system, tokenizer = run.config.mixture.system, loaded.tokenizer
    ends = answer_ends(tokenizer, chat_format)
    prompts = [prompt_text(e, tokenizer, chat_format, system) for e in examples]
    with bar(f"eval {stage}", len(prompts)) as update:
        answers = answer_all(loaded, prompts, evaluation.max_new_tokens, evaluation.batch_size, update, ends)
    marker = pack.settings(run.config.language)["answer_marker"]
    rows = []
    for example, prompt, answer in zip(examples, prompts, answers, strict=True):
        response = training_text(example, tokenizer, chat_format, system).removeprefix(prompt)
        nll, tokens = response_nll(loaded, prompt, response, run.config.base.max_seq_length)
        rows.append(_row(example, answer, nll, tokens, marker))
    return rows


def _row(example: Example, answer: Answer, nll: float, tokens: int, marker: str) -> dict[str, Any]:
    return {
        "id": example.id,
        "category": example.category,
        "instruction": example.instruction,
        "input": example.input,
        "expected": example.output,
        "answer": answer.text,
        "stopped": answer.stopped,
        "answer_tokens": answer.tokens,
        "correct": metrics.is_correct(example, answer.text, marker),
        "response_nll": nll,
        "response_tokens": tokens,
        "purity": None if _asks_for_english(example) or not answer.text else urdu_purity(answer.text),
    }


def _asks_for_english(example: Example) -> bool:
    return example.category == "translation" and example.meta.get("target") == "en"


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over the task rows; each has the n it rests on."""
    correct = [r["correct"] for r in rows if r["correct"] is not None]
    purity = [r["purity"] for r in rows if r["purity"] is not None]
    by_category: dict[str, list[bool]] = {}
    for row in rows:
        if row["correct"] is not None:
            by_category.setdefault(row["category"], []).append(row["correct"])
    return {
        "tasks": len(rows),
        "response_loss": sum(r["response_nll"] for r in rows) / max(1, sum(r["response_tokens"] for r in rows)),
        "exact_match": metrics.mean(correct),
        "checkable": len(correct),
        "exact_match_by_category": {c: {"n": len(v), "share": metrics.mean(v)} for c, v in sorted(by_category.items())},
        "stops_by_itself": metrics.mean([r["stopped"] for r in rows]),
        "urdu_purity": metrics.mean(purity),
        "urdu_answers": len(purity),
        "answer_tokens": sum(r["answer_tokens"] for r in rows),
    }


def _read(path: Path) -> Any:
    import json

    return json.loads(path.read_text("utf-8"))
