"""synth: people's judgement of the examples: what to look at, a spreadsheet that goes out and comes back, the pool as reviewed.

In: synth/pool.jsonl; later a filled sheet, or the decisions of review_app. Out: a sheet (xlsx, right to left, or csv) and
synth/review.jsonl, one row per judgement, the original kept beside the edit; the pool itself is never written. `apply` gives the
pool as reviewed. Cells that a spreadsheet would run or respell are neutralised on the way out and restored on the way back.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from alif_kit.errors import UserError
from alif_kit.records import CATEGORIES, Example, read_jsonl, to_dict, write_jsonl
from alif_kit.run_folder import Run
from alif_kit.synth.filters import first_reason
from alif_kit.synth.parse import EMPTY, LABELLED, infer_meta
from alif_kit.text import comparison_tokens, normalize, to_western_digits, urdu_purity

PARTS = ("instruction", "input", "labels", "output")
# The columns of a sheet and their widths in characters.
WIDTHS = {"id": 18, "category": 13, "flags": 16, "instruction": 42, "input": 42, "labels": 20, "output": 60, "decision": 11}
WIDTHS |= {"new_instruction": 42, "new_input": 42, "new_labels": 20, "new_output": 60, "reviewer": 14, "note": 30}
COLUMNS = tuple(WIDTHS)
DECISIONS = ("accept", "edit", "reject")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
FLAGS = ("near_duplicate", "odd_length", "mixed_script", "answer_not_last", "label_unnamed")
NEAR, EXTREME, PURITY = 0.1, 0.02, 0.95
_RESULT = re.compile(r"=\s*(-?\d+(?:\.\d+)?)")
_THOUSANDS = re.compile(r"(?<=\d)[,٬](?=\d{2,3}\b)")
_NUMBER = re.compile(r"[0-9][0-9eE.,:/+%\s-]*")


def flags(example: Example, threshold: float, limits: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """Why a person should look at an example that passed every filter; empty when nothing stands out.

    `near_duplicate`: its novelty score is within 0.1 of `threshold` (ROUGE-L F1, 0-1). `odd_length`: the words of its output lie
    outside `limits` of its category (from `output_limits`). `mixed_script`: under 95% Urdu letters in a part that should be Urdu.
    `answer_not_last`: two equations or more, and the final answer is not the last one's value. `label_unnamed`: a label that
    neither instruction nor input names, so nobody could know it.
    """
    shortest, longest = limits[example.category]
    raised = (
        threshold - example.provenance.scores.get("nearest_rouge_l", 0.0) <= NEAR + 1e-9,
        not shortest <= len(example.output.split()) <= longest,
        any(urdu_purity(text) < PURITY for text in _urdu_texts(example)),
        _answer_not_last(example),
        any(label not in example.instruction + example.input for label in example.labels),
    )
    return tuple(name for name, found in zip(FLAGS, raised, strict=True) if found)


def output_limits(pool: Iterable[Example]) -> dict[str, tuple[int, int]]:
    """Per category, the words of output that all but the shortest 2% have at least and all but the longest 2% at most."""
    words: dict[str, list[int]] = {}
    for example in pool:
        words.setdefault(example.category, []).append(len(example.output.split()))
    # Ranks, not interpolated percentiles: in a category of under 50 nobody is extreme by being the shortest.
    return {c: (sorted(n)[int(len(n) * EXTREME)], sorted(n)[-1 - int(len(n) * EXTREME)]) for c, n in words.items()}


def _urdu_texts(example: Example) -> list[str]:
    sides = zip((example.instruction, example.input, example.output), ("asked_in", "source", "target"), strict=True)
    return [text for text, side in sides if any(map(str.isalpha, text)) and example.meta.get(side, "ur") == "ur"]


def _answer_not_last(example: Example) -> bool:
    results = _RESULT.findall(_THOUSANDS.sub("", to_western_digits(example.output)))
    said = [float(token) for token in comparison_tokens(example.meta.get("answer", "")) if re.fullmatch(r"-?\d+(\.\d+)?", token)]
    return len(results) > 1 and bool(said) and float(results[-1]) not in said


def pool_flags(run: Run, pool: list[Example]) -> dict[str, tuple[str, ...]]:
    """`flags` of every example of a run's pool, by id."""
    limits = output_limits(pool)
    return {e.id: flags(e, run.config.synth.novelty_threshold, limits) for e in pool}


def read_pool(run: Run) -> list[Example]:
    """The accepted examples, as they came from the teacher. Raises UserError when `alif generate` has not run."""
    return list(read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example))


def export(run: Run, path: Path, count: int | None, seed: int = 0, category: str = "", flagged: bool = False) -> int:
    """Write a sheet and return how many examples are in it: a stratified sample of `count`, or with None all there are.

    Raises UserError for an unknown ending or category, when nothing is left to show, and when the sheet exists already.
    """
    writer = {".csv": _write_csv, ".xlsx": _write_xlsx}[_ending(path)]
    if path.exists():
        raise UserError(f"{path} is there already and may hold decisions; import it first, then choose another name")
    if category not in ("", *CATEGORIES):
        raise UserError(f"category is {category!r}; expected one of {', '.join(CATEGORIES)}")
    pool = read_pool(run)
    raised = pool_flags(run, pool)
    pool = [e for e in pool if category in ("", e.category) and (raised[e.id] or not flagged)]
    if not pool:
        raise UserError(f"no example of {category or 'any category'} is {'flagged' if flagged else 'in the pool'}; ask for others")
    chosen = pool if count is None else stratified(pool, count, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer(path, [[neutral(cells(e, raised[e.id]).get(column, "")) for column in COLUMNS] for e in chosen])
    return len(chosen)


def cells(example: Example, raised: tuple[str, ...] = ()) -> dict[str, str]:
    """The text columns of an example; labels with commas between them, `raised` its flags."""
    texts = {name: getattr(example, name) for name in ("id", "category", "instruction", "input", "output")}
    return {**texts, "labels": "، ".join(example.labels), "flags": ", ".join(raised)}


def stratified(pool: list[Example], count: int, seed: int) -> list[Example]:
    """A seeded sample of `count`, categories in proportion and at least one of each as far as `count` goes."""
    draw, members = random.Random(seed), {c: [e for e in pool if e.category == c] for c in CATEGORIES}
    shares = dict.fromkeys((c for c in CATEGORIES if members[c]), 0)
    for _ in range(min(count, len(pool))):
        # Sainte-Laguë: the next place goes to whoever is furthest below their share; nobody's second before everybody's first.
        open_ = [c for c in shares if shares[c] < len(members[c])]
        shares[max(open_, key=lambda c: (shares[c] == 0, len(members[c]) / (2 * shares[c] + 1)))] += 1
    return [e for c, share in shares.items() for e in draw.sample(members[c], share)]


def neutral(text: str) -> str:
    """An apostrophe before what a spreadsheet would run or respell: `"=1+1" -> "'=1+1"`, `"12e4" -> "'12e4"`, `"'a" -> "''a"`."""
    return "'" + text if text.startswith((*FORMULA, "'")) or _NUMBER.fullmatch(text) else text


def restore(text: str) -> str:
    """The inverse of `neutral`; an apostrophe that a person wrote stays."""
    return text[1:] if text.startswith("'") and neutral(text[1:]) != text[1:] else text


def _ending(path: Path) -> str:
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise UserError(f"the sheet is {path.name}; expected a name that ends in .xlsx or .csv")
    return path.suffix.lower()


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def _write_xlsx(path: Path, rows: list[list[str]]) -> None:
    openpyxl = _openpyxl()
    letters = {name: openpyxl.utils.get_column_letter(number) for number, name in enumerate(COLUMNS, 1)}
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.sheet_view.rightToLeft = True
    for row in (COLUMNS, *rows):
        sheet.append(list(row))
    for name, width in WIDTHS.items():
        sheet.column_dimensions[letters[name]].width = width
    for cells in sheet.iter_rows(min_row=2):
        for cell in cells:
            cell.alignment = openpyxl.styles.Alignment(wrap_text=True, vertical="top", readingOrder=2)
            cell.data_type = "s"
    for cell in sheet[1]:
        cell.font = openpyxl.styles.Font(bold=True)
    choice = openpyxl.worksheet.datavalidation.DataValidation("list", formula1=f'"{",".join(DECISIONS)}"', allow_blank=True)
    sheet.add_data_validation(choice)
    choice.add(f"{letters['decision']}2:{letters['decision']}{len(rows) + 1}")
    sheet.freeze_panes = "C2"
    book.save(path)


def _openpyxl() -> Any:
    try:
        import openpyxl.styles
        import openpyxl.utils
        import openpyxl.worksheet.datavalidation
    except ImportError:
        raise UserError("openpyxl is not installed; install the extra `review` of alif-kit, or use a .csv sheet") from None
    return openpyxl


def read_sheet(path: Path) -> list[dict[str, str]]:
    """The rows of a filled sheet, text as it was before it was neutralised. Raises UserError when it is no sheet of ours."""
    if not path.is_file():
        raise UserError(f"{path} is missing; expected the sheet that `alif review export` wrote, filled in")
    reader = {".csv": _read_csv, ".xlsx": _read_xlsx}[_ending(path)]
    try:
        header, *body = reader(path) or [[]]
    except UserError:
        raise
    except Exception as error:  # openpyxl and csv have a dozen ways to say so
        raise UserError(f"{path} cannot be read as a sheet ({error}); save it as .xlsx, or as .csv in UTF-8") from None
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; expected the columns of `alif review export`")
    return [dict.fromkeys(COLUMNS, "") | dict(zip(header, map(restore, row), strict=False)) for row in body]


def _read_csv(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    # A spreadsheet of another locale saves with semicolons or tabs.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _read_xlsx(path: Path) -> list[list[str]]:
    rows = _openpyxl().load_workbook(path).active.iter_rows(values_only=True)
    return [["" if value is None else str(value) for value in row] for row in rows]


def take(run: Run, path: Path) -> dict[str, int]:
    """Read a filled sheet into synth/review.jsonl, in one step; a row that cannot be taken refuses the sheet whole.

    Returns counts by decision, and `unchanged`: rows that repeat what their reviewer said last. Those are not taken again, so
    bringing a sheet in twice does not outvote whoever judged in between.
    """
    pool, before = {e.id: e for e in read_pool(run)}, read(run)
    said = {(row["id"], row["reviewer"]): row for row in before}
    seen: dict[tuple[str, str], int] = {}
    new = []
    for number, row in enumerate(read_sheet(path), 2):
        try:
            judged = _from_row(row, pool)
            key = (judged["id"], judged["reviewer"]) if judged else None
            if key in seen:
                raise UserError(f"{key[1]} has judged this example in row {seen[key]} already; keep one of the two")
        except UserError as error:
            raise UserError(f"{path}, row {number}: {error}") from None
        if judged:
            seen[key] = number
            new.append(judged)
    fresh = [row for row in new if not _same(row, said.get((row["id"], row["reviewer"])))]
    write_jsonl(run.file("synth", "review.jsonl"), [*before, *fresh])
    counts = {decision: sum(row["decision"] == decision for row in fresh) for decision in DECISIONS}
    return {**counts, "unchanged": len(new) - len(fresh)}


def _same(row: dict[str, Any], other: dict[str, Any] | None) -> bool:
    return other is not None and all(row[name] == other[name] for name in ("decision", "edit", "note"))


def _from_row(row: dict[str, str], pool: dict[str, Example]) -> dict[str, Any] | None:
    """The judgement in a row; None where the reviewer has not decided yet."""
    new = {name: text for name in PARTS if (text := row[f"new_{name}"].strip())}
    if not row["decision"].strip() and not new:
        return None
    original = pool.get(row["id"])
    if original is None:
        raise UserError(f"id {row['id']!r} is not in this run's pool; export the sheet from the run you import it to")
    for name, text in cells(original).items():
        if name in PARTS and normalize(row[name]) != normalize(text):
            raise UserError(f"{name} was changed in its own column; write the change into new_{name} and put {name} back")
    if new.get("input") == EMPTY:
        new["input"] = ""
    return judgement(original, row["decision"], row["reviewer"], row["note"], new)


def judgement(original: Example, decision: str, reviewer: str, note: str = "", new: dict[str, str] | None = None) -> dict[str, Any]:
    """One row of review.jsonl. `new` maps PARTS to text as the reviewer left it, labels with commas between them.

    Raises UserError for an unknown decision, no reviewer, an edit that changes nothing or that a filter would drop (named), and
    for new text under another decision, which would be lost.
    """
    decision, edit = decision.strip().lower(), _changes(original, new or {})
    if decision not in DECISIONS:
        raise UserError(f"decision is {decision!r}; expected accept, edit or reject")
    if not reviewer.strip():
        raise UserError("reviewer is empty; write a name or initials")
    if decision == "edit" and not edit:
        raise UserError("decision is edit, but no text is new; write the new text, or decide accept")
    if decision != "edit" and edit:
        raise UserError(f"decision is {decision}, but {', '.join(edit)} has new text; decide edit, or take the new text out")
    if edit and (reason := first_reason(revise(original, edit))):
        raise UserError(f"the edited example does not pass the filter {reason}; correct the new text, or decide reject")
    judged = {"id": original.id, "decision": decision, "reviewer": reviewer.strip(), "note": note.strip()}
    return {**judged, "original": to_dict(original), "edit": edit or None}


def _changes(original: Example, new: dict[str, str]) -> dict[str, Any]:
    def clean(name: str, text: str) -> Any:
        return [n for part in re.split("[،,]", text) if (n := normalize(part))] if name == "labels" else normalize(text)

    before = cells(original)
    return {name: value for name, text in new.items() if (value := clean(name, text)) != clean(name, before[name])}


def revise(original: Example, edit: dict[str, Any]) -> Example:
    """The original with an edit's parts, its meta read off the new text as `parse` reads it. Raises UserError for no task."""
    revised = replace(original, **edit)
    if (revised.category in LABELLED) != bool(revised.labels):
        raise UserError(f"{revised.category} has labels {list(revised.labels)}; only {' and '.join(LABELLED)} have labels")
    return replace(revised, meta=infer_meta(revised))


def read(run: Run) -> list[dict[str, Any]]:
    """All judgements of a run in the order they were made."""
    path = run.file("synth", "review.jsonl")
    return list(read_jsonl(path)) if path.is_file() else []


def apply(pool: Iterable[Example], judgements: Iterable[dict[str, Any]]) -> list[Example]:
    """The pool as reviewed: rejected ones gone, edits made, `provenance.review` set.

    The last judgement of an example counts, whoever made it; judgements of examples that are not in the pool count for nothing.
    """
    last = {row["id"]: row for row in judgements}
    return [_reviewed(e, last.get(e.id)) for e in pool if last.get(e.id, {}).get("decision") != "reject"]


def _reviewed(example: Example, judged: dict[str, Any] | None) -> Example:
    if judged is None:
        return example
    state = replace(example.provenance, review="edited" if judged["edit"] else "accepted")
    return replace(revise(example, judged["edit"]) if judged["edit"] else example, provenance=state)


def agreement(judgements: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Cohen's kappa of each pair of reviewers over the examples both judged, each by their last word.

    `{"ali, sara": {"n": 20, "kappa": 0.61}}`; kappa is None with no example in common, or when both always say the same one thing.
    """
    by_reviewer: dict[str, dict[str, str]] = {}
    for row in judgements:
        by_reviewer.setdefault(row["reviewer"], {})[row["id"]] = row["decision"]
    pairs = {}
    for left, right in combinations(sorted(by_reviewer), 2):
        shared = sorted(set(by_reviewer[left]) & set(by_reviewer[right]))
        sides = [[by_reviewer[name][key] for key in shared] for name in (left, right)]
        pairs[f"{left}, {right}"] = {"n": len(shared), "kappa": cohen_kappa(*sides) if shared else None}
    return pairs


def cohen_kappa(left: list[str], right: list[str]) -> float | None:
    """(observed - expected) / (1 - expected) agreement (Cohen 1960); None when both always say the same one thing."""
    n = len(left)
    observed = sum(a == b for a, b in zip(left, right, strict=True)) / n
    expected = sum(left.count(label) * right.count(label) for label in set(left) | set(right)) / n**2
    return None if expected == 1 else round((observed - expected) / (1 - expected), 4)
