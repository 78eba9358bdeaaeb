"""synth: the spreadsheet that goes out to reviewers and comes back: xlsx (right to left, decisions to choose from) or csv.

In: examples, a sample of which becomes rows of text by column. Out: a new file; read back, the same rows with what people filled
in. Cells that a spreadsheet would run or respell are neutralised on the way out and restored on the way back. The texts of an
example and what changed in them are told here, for the page too; judging is left to decisions.py.
"""

from __future__ import annotations

import csv
import io
import random
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import CATEGORIES, Example, by_category
from alif_kit.languages.text import normalize
from alif_kit.synth.parse import EMPTY, split_labels

# The columns of a sheet and their widths in characters.
WIDTHS = {"id": 18, "category": 13, "flags": 16, "instruction": 42, "input": 42, "labels": 20, "output": 60, "decision": 11}
WIDTHS |= {"new_instruction": 42, "new_input": 42, "new_labels": 20, "new_output": 60, "reviewer": 14, "note": 30}
COLUMNS = tuple(WIDTHS)
PARTS = ("instruction", "input", "labels", "output")
DECISIONS = ("accept", "edit", "reject")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[0-9][0-9eE.,:/+%\s-]*")


def cells(example: Example, flags: tuple[str, ...] = ()) -> dict[str, str]:
    """An example as the columns show it, with commas between labels and between flags."""
    texts = {name: getattr(example, name) for name in ("id", "category", "instruction", "input", "output")}
    return {**texts, "labels": "، ".join(example.labels), "flags": ", ".join(flags)}


def changes(original: Example, texts: dict[str, str]) -> dict[str, Any]:
    """The parts among `texts`, written as in `cells`, that differ from the original's: normalised, labels as a list."""
    before = {name: _value(name, text) for name, text in cells(original).items() if name in PARTS}
    return {name: value for name in PARTS if name in texts and (value := _value(name, texts[name])) != before[name]}


def _value(name: str, text: str) -> Any:
    return [label for part in split_labels(text) if (label := normalize(part))] if name == "labels" else normalize(text)


def new_text(row: dict[str, str]) -> dict[str, str]:
    """What a reviewer wrote into the `new_` columns; `خالی` empties the input."""
    new = {name: text for name in PARTS if (text := row[f"new_{name}"].strip())}
    return {**new, "input": ""} if new.get("input") == EMPTY else new


def stratified(pool: list[Example], count: int, seed: int) -> list[Example]:
    """A seeded sample of `count`, categories in proportion and at least one of each as far as `count` goes."""
    draw, ranked = random.Random(seed), []
    for members in by_category(pool).values():
        # Sainte-Laguë: place k of a category of n comes at (k + 1/2) / n, and everybody's first before anybody's second.
        drawn = enumerate(draw.sample(members, len(members)))
        ranked += [((place > 0, (place + 0.5) / len(members)), example) for place, example in drawn]
    chosen = [example for _, example in sorted(ranked, key=lambda row: row[0])[:count]]
    return sorted(chosen, key=lambda e: CATEGORIES.index(e.category))


def neutral(text: str) -> str:
    """An apostrophe before what a spreadsheet would run or respell: `"=1+1" -> "'=1+1"`, `"12e4" -> "'12e4"`, `"'a" -> "''a"`."""
    return "'" + text if text.startswith((*FORMULA, "'")) or _NUMBER.fullmatch(text) else text


def restore(text: str) -> str:
    """The inverse of `neutral`; an apostrophe that a person wrote stays."""
    return text[1:] if text.startswith("'") and neutral(text[1:]) != text[1:] else text


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows to a new sheet, columns they lack left empty. Raises UserError for an unknown ending or a sheet that exists."""
    writer = _write_xlsx if _is_xlsx(path) else _write_csv
    if path.exists():
        raise UserError(f"{path} is there already and may hold decisions; import it first, then choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer(path, [list(COLUMNS), *([neutral(row.get(name, "")) for name in COLUMNS] for row in rows)])


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a filled sheet, text as it was before it was neutralised. Raises UserError when it is no sheet of ours."""
    if not path.is_file():
        raise UserError(f"{path} is missing; expected the sheet that `alif review export` wrote, filled in")
    reader = _read_xlsx if _is_xlsx(path) else _read_csv
    try:
        header, *body = reader(path) or [[]]
    except Exception as error:  # openpyxl and csv have a dozen ways to say so
        raise UserError(f"{path} cannot be read as a sheet ({error}); save it as .xlsx, or as .csv in UTF-8") from None
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; expected the columns of `alif review export`")
    return [dict.fromkeys(COLUMNS, "") | dict(zip(header, map(restore, row), strict=False)) for row in body]


def _is_xlsx(path: Path) -> bool:
    ending = path.suffix.lower()
    if ending not in (".csv", ".xlsx"):
        raise UserError(f"the sheet is {path.name}; expected a name that ends in .xlsx or .csv")
    if ending == ".xlsx" and find_spec("openpyxl") is None:
        raise UserError("openpyxl is not installed; install the extra `review` of alif-kit, or use a .csv sheet")
    return ending == ".xlsx"


def _write_csv(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(lines)


def _read_csv(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    # A spreadsheet of another locale saves with semicolons or tabs.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _write_xlsx(path: Path, lines: list[list[str]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.sheet_view.rightToLeft, sheet.freeze_panes = True, "C2"
    for line in lines:
        sheet.append(line)
    for cell in (cell for row in sheet.iter_rows() for cell in row):
        cell.alignment = openpyxl.styles.Alignment(wrap_text=True, vertical="top", readingOrder=2)
        cell.data_type = "s"
    letters = {name: openpyxl.utils.get_column_letter(number) for number, name in enumerate(COLUMNS, 1)}
    for name, width in WIDTHS.items():
        sheet.column_dimensions[letters[name]].width = width
    choice = openpyxl.worksheet.datavalidation.DataValidation("list", formula1=f'"{",".join(DECISIONS)}"', allow_blank=True)
    sheet.add_data_validation(choice)
    choice.add(f"{letters['decision']}2:{letters['decision']}{len(lines)}")
    book.save(path)


def _read_xlsx(path: Path) -> list[list[str]]:
    import openpyxl

    rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
    return [["" if value is None else str(value) for value in row] for row in rows]
