"""synth: people's judgement of the examples, by a spreadsheet that goes out and comes back.

In: synth/pool.jsonl; later a filled sheet. Out: a sheet (xlsx, right to left, or csv) of a stratified sample; synth/review.jsonl,
one row per example and reviewer, the original kept beside the edit. `apply` gives the pool as reviewed. Cells that a spreadsheet
would take for a formula are neutralised on the way out and restored on the way back.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from alif_kit.errors import UserError
from alif_kit.records import CATEGORIES, Example, from_dict, read_jsonl, to_dict, write_jsonl
from alif_kit.run_folder import Run

COLUMNS = (
    "id",
    "category",
    "instruction",
    "input",
    "output",
    "decision",
    "new_instruction",
    "new_input",
    "new_output",
    "reviewer",
    "note",
)
DECISIONS = ("accept", "edit", "reject")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(run: Run, path: Path, count: int, seed: int = 0) -> int:
    """Write a sheet of `count` examples, categories in proportion; returns how many are in it."""
    pool = list(read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example))
    chosen = stratified(pool, count, seed)
    rows = [{**dict.fromkeys(COLUMNS, ""), **{c: getattr(e, c) for c in COLUMNS[:5]}} for e in chosen]
    safe = [{name: neutral(value) for name, value in row.items()} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    _writer(path)(path, safe)
    return len(rows)


def stratified(pool: list[Example], count: int, seed: int) -> list[Example]:
    """A seeded sample with every category in its share, at least one of each."""
    draw, chosen = random.Random(seed), []
    for category in CATEGORIES:
        members = [e for e in pool if e.category == category]
        share = max(1, round(count * len(members) / len(pool))) if members else 0
        chosen += draw.sample(members, min(share, len(members)))
    return chosen[:count] if count >= len(CATEGORIES) else draw.sample(chosen, count)


def neutral(text: str) -> str:
    """An apostrophe before what a spreadsheet would run: `"=1+1" -> "'=1+1"`; also before an apostrophe, so it comes back whole."""
    return "'" + text if text.startswith((*FORMULA, "'")) else text


def restore(text: str) -> str:
    """The inverse of `neutral`."""
    return text[1:] if text.startswith("'") else text


def _writer(path: Path) -> Any:
    kinds = {".csv": _write_csv, ".xlsx": _write_xlsx}
    if path.suffix not in kinds:
        raise UserError(f"the sheet is {path.name}; expected a name that ends in .xlsx or .csv")
    return kinds[path.suffix]


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _write_xlsx(path: Path, rows: list[dict[str, str]]) -> None:
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font
    from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook()
    sheet = book.active
    sheet.sheet_view.rightToLeft = True
    sheet.append(list(COLUMNS))
    for row in rows:
        sheet.append([row[c] for c in COLUMNS])
    for column, width in zip("ABCDEFGHIJK", (18, 13, 42, 42, 60, 11, 42, 42, 60, 14, 30), strict=True):
        sheet.column_dimensions[column].width = width
    for cells in sheet.iter_rows(min_row=2):
        for cell in cells:
            cell.alignment, cell.data_type = Alignment(wrap_text=True, vertical="top", readingOrder=2), "s"
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    choice = DataValidation(type="list", formula1=f'"{",".join(DECISIONS)}"', allow_blank=True)
    sheet.add_data_validation(choice)
    choice.add(f"F2:F{len(rows) + 1}")
    sheet.freeze_panes = "C2"
    book.save(path)


def read_sheet(path: Path) -> list[dict[str, str]]:
    """The rows of a filled sheet, text as it was before it was neutralised."""
    if path.suffix == ".xlsx":
        from openpyxl import load_workbook

        values = load_workbook(path, read_only=True).active.iter_rows(values_only=True)
        header, *body = [["" if v is None else str(v) for v in row] for row in values]
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *body = list(csv.reader(file))
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; expected the columns of `alif review export`")
    return [dict(zip(header, map(restore, row), strict=False)) for row in body if any(row)]


def take(run: Run, path: Path) -> dict[str, int]:
    """Read a filled sheet into synth/review.jsonl; refuses it whole if a row cannot be matched. Returns counts by decision."""
    pool = {e.id: e for e in read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example)}
    new = [_judgement(row, number, path, pool) for number, row in enumerate(read_sheet(path), 2) if row["decision"].strip()]
    kept = {(row["id"], row["reviewer"]): row for row in [*read(run), *new]}
    write_jsonl(run.file("synth", "review.jsonl"), kept.values())
    return {decision: sum(row["decision"] == decision for row in new) for decision in DECISIONS}


def _judgement(row: dict[str, str], number: int, path: Path, pool: dict[str, Example]) -> dict[str, Any]:
    where, decision = f"{path}, row {number}", row["decision"].strip().lower()
    if row["id"] not in pool:
        raise UserError(f"{where}: id {row['id']!r} is not in this run's pool; export the sheet from the run you import it to")
    if decision not in DECISIONS:
        raise UserError(f"{where}: decision is {row['decision']!r}; expected accept, edit or reject")
    if not row["reviewer"].strip():
        raise UserError(f"{where}: reviewer is empty; write a name or initials")
    original = pool[row["id"]]
    edit = {name: row[f"new_{name}"].strip() for name in ("instruction", "input", "output")}
    if decision == "edit" and not any(edit.values()):
        raise UserError(f"{where}: decision is edit, but new_instruction, new_input and new_output are empty")
    judged = {"id": row["id"], "decision": decision, "reviewer": row["reviewer"].strip(), "note": row["note"].strip()}
    return {**judged, "original": to_dict(original), "edit": edit if decision == "edit" else None}


def read(run: Run) -> list[dict[str, Any]]:
    path = run.file("synth", "review.jsonl")
    return list(read_jsonl(path)) if path.is_file() else []


def apply(pool: Iterable[Example], judgements: Iterable[dict[str, Any]]) -> list[Example]:
    """The pool as reviewed: rejected ones gone, edits made, `provenance.review` set. The last judgement of an example counts."""
    last = {row["id"]: row for row in judgements}
    return [_reviewed(e, last.get(e.id)) for e in pool if last.get(e.id, {}).get("decision") != "reject"]


def _reviewed(example: Example, judgement: dict[str, Any] | None) -> Example:
    if judgement is None:
        return example
    edit = {name: value for name, value in (judgement["edit"] or {}).items() if value}
    state = "edited" if edit else "accepted"
    return replace(example, **edit, provenance=replace(example.provenance, review=state))


def agreement(judgements: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Cohen's kappa of each pair of reviewers over the rows both judged: `{"a, b": {"n": 20, "kappa": 0.61}}`."""
    by_reviewer: dict[str, dict[str, str]] = {}
    for row in judgements:
        by_reviewer.setdefault(row["reviewer"], {})[row["id"]] = row["decision"]
    names, pairs = sorted(by_reviewer), {}
    for i, left in enumerate(names):
        for right in names[i + 1 :]:
            shared = sorted(set(by_reviewer[left]) & set(by_reviewer[right]))
            if shared:
                sides = [[by_reviewer[name][key] for key in shared] for name in (left, right)]
                pairs[f"{left}, {right}"] = {"n": len(shared), "kappa": cohen_kappa(*sides)}
    return pairs


def cohen_kappa(left: list[str], right: list[str]) -> float | None:
    """(observed - expected) / (1 - expected) agreement (Cohen 1960); None when both always say the same one thing."""
    n = len(left)
    observed = sum(a == b for a, b in zip(left, right, strict=True)) / n
    expected = sum(left.count(label) * right.count(label) for label in set(left) | set(right)) / n**2
    return None if expected == 1 else round((observed - expected) / (1 - expected), 4)


def load_example(row: dict[str, Any]) -> Example:
    """The original kept in a judgement, as an Example."""
    return from_dict(Example, row["original"])
