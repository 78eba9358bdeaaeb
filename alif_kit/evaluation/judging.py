"""evaluation: the judge at work on a run: scores for every subject's answers, preferences against the base, agreement with people.

In: rows of held-out tasks; a reviewed sheet. Out: evaluation/judge.jsonl (the journal), rows that summary.py reads like any
others, and evaluation/judge.json with what it cost and how often tuned and base won.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.progress import bar
from alif_kit.core.records import write_json
from alif_kit.evaluation import metrics
from alif_kit.evaluation.judge import Case, Verdict, categories, compare, estimate, judge
from alif_kit.evaluation.sets import suites
from alif_kit.evaluation.summary import Rows
from alif_kit.platforms import machine

ACCEPTABLE = 6
"""Score from which the judge counts as accepting, where people have only accepted or rejected."""


def asked_for(run: Run) -> bool:
    """Whether the suite has the judge read answers."""
    return bool(suites()[run.config.evaluation.suite].get("judge"))


def judge_run(run: Run, rows: Rows) -> dict[str, Any]:
    """Add the judge's rows to `rows`, as sets `judge_<category>`; returns what goes into judge.json. Says its cost first."""
    by_subject = {name: _cases(run, sets.get("held_out", [])) for name, sets in rows.items()}
    pairs = _pairs(*(by_subject[name] for name in (next(iter(rows)), list(rows)[-1])))
    asked = [case for cases in by_subject.values() for case in cases]
    before = _announce(run, [*asked, *pairs, *pairs])
    verdicts: list[Verdict] = _ask(run, judge, "judge", asked, len(asked))
    preferences = _ask(run, compare, "judge pairs", pairs, 2 * len(pairs))
    place = iter(verdicts)
    for name, cases in by_subject.items():
        for case in cases:
            rows[name].setdefault(f"judge_{case.category}", []).append(_row(case, next(place)))
    unread = sum(not v.is_read for v in verdicts)
    summary = {"estimated": before, "usd": round(sum(v.usd for v in verdicts), 4), "judged": len(verdicts), "unread": unread}
    names = {"first": "base", "second": "tuned", "tie": "tie", None: "unread"}
    summary |= {"model": run.config.judge.model, "against_base": dict(Counter(names[better] for better in preferences))}
    write_json(run.file("evaluation", "judge.json"), summary)
    print(f"the judge cost ${summary['usd']:.4f}; {unread} of {len(verdicts)} judgements could not be read", file=sys.stderr)
    return summary


def _cases(run: Run, rows: list[dict[str, Any]]) -> list[Case]:
    known = categories(run.config.language)
    return [Case(r["id"], r["group"], r["prompt"], r["expected"], r["answer"]) for r in rows if r["group"] in known]


def _pairs(base: list[Case], tuned: list[Case]) -> list[Case]:
    """Both answers to one question, the base's first; the same answer twice needs no judge."""
    other = {case.id: case.answer for case in tuned}
    return [
        Case(c.id, c.category, c.question, c.reference, c.answer or "(empty)", other[c.id] or "(empty)")
        for c in base
        if c.id in other and other[c.id] != c.answer
    ]


def _announce(run: Run, cases: list[Case]) -> dict[str, Any]:
    found = estimate(cases, run.config.judge, run.config.language)
    tokens = f"{found['prompt_tokens']:,} tokens in, {found['completion_tokens']:,} out"
    limit = f"stops at judge.max_usd = {run.config.judge.max_usd:.2f}"
    print(
        f"judge {run.config.judge.model}: {found['requests']:,} requests, {tokens}, about ${found['usd']:.4f}; {limit}",
        file=sys.stderr,
    )
    return found


def _ask(run: Run, how: Callable[..., list[Any]], label: str, cases: list[Case], requests: int) -> list[Any]:
    """What `judge` or `compare` makes of the cases, with a bar."""
    teacher = run.config.judge
    key = machine.secret(teacher.key_name) if teacher.key_name else ""
    with bar(label, requests) as update:
        return how(cases, teacher, key, run.file("evaluation", "judge.jsonl"), run.config.language, update)


def _row(case: Case, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": case.id,
        "set": f"judge_{case.category}",
        "group": case.category,
        "parsed": verdict.is_read,
        "scores": {} if verdict.score is None else {"judge": float(verdict.score)},
        "criteria": verdict.criteria or {},
        "reason": verdict.reason,
    }


def agreement(run: Run, sheet: Path) -> dict[str, Any]:
    """How far the judge agrees with people: {"n", "kappa", "rank_correlation", "unread", "by"}.

    It scores what a reviewed sheet holds, and is compared with the sheet's `score` (1 to 10), or `decision` (accept, edit, reject).

    Raises UserError for a sheet without either.
    """
    rows = _reviewed(sheet, categories(run.config.language))
    by = "score" if any(row["score"] for row in rows) else "decision"
    rows = [row for row in rows if row[by]]
    if not rows:
        raise UserError(
            f"{sheet} has no score and no decision in a category that is judged; expected the sheet of `alif review export`"
        )
    cases = [Case(r["id"], r["category"], f"{r['instruction']}\n\n{r['input']}".strip(), "", r["output"]) for r in rows]
    _announce(run, cases)
    verdicts = _ask(run, judge, "judge", cases, len(cases))
    both = [(_human(row, by), verdict.score) for row, verdict in zip(rows, verdicts, strict=True) if verdict.score is not None]
    people, scores = [h for h, _ in both], [s for _, s in both]
    if by == "score":
        kappa = metrics.cohen_kappa(people, scores, "quadratic")
    else:
        kappa = metrics.cohen_kappa([h == 2 for h in people], [s >= ACCEPTABLE for s in scores])
    rank = metrics.rank_correlation(people, scores)
    return {"n": len(both), "kappa": kappa, "rank_correlation": rank, "unread": len(rows) - len(both), "by": by}


def _human(row: dict[str, str], by: str) -> int:
    return int(float(row["score"])) if by == "score" else {"reject": 0, "edit": 1, "accept": 2}[row["decision"]]


def _reviewed(sheet: Path, wanted: list[str]) -> list[dict[str, str]]:
    """The judged categories' rows of an .xlsx or .csv sheet, as text."""
    import pandas

    if sheet.suffix not in (".csv", ".xlsx") or not sheet.is_file():
        raise UserError(f"the sheet {sheet} is not there or no sheet; expected the .csv or .xlsx of `alif review export`")
    table = (pandas.read_excel if sheet.suffix == ".xlsx" else pandas.read_csv)(sheet, dtype=str).fillna("")
    missing = sorted({"id", "category", "instruction", "output"} - set(table.columns))
    if missing:
        raise UserError(f"{sheet} has no column {missing[0]}; expected the sheet of `alif review export`")
    for column in ("input", "decision", "score"):
        table[column] = table[column].str.strip() if column in table else ""
    return [row for row in table.to_dict("records") if row["category"] in wanted]
