"""evaluation: puts the sets of a suite to each subject, and keeps every row.

In: a run, its subjects (the first is the base), the sets. Out: evaluation/<subject>/<set>.jsonl, one row per example, and
evaluation/results.json (summary.py). Rows are on disk before more are asked, so a killed evaluation goes on; they carry
the fingerprint of what was asked of which weights, and are made anew when either has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.progress import bar
from alif_kit.core.records import AppendOnly, read_jsonl, stable_id, write_json, write_jsonl
from alif_kit.core.run import latest_json
from alif_kit.evaluation import judging, metrics, scoring, summary
from alif_kit.evaluation.generate import response_nll, text_nll
from alif_kit.evaluation.sets import Work, gather
from alif_kit.evaluation.subjects import Respondent, Subject
from alif_kit.evaluation.summary import Rows
from alif_kit.model.chat_format import training_text


def evaluate(run: Run, subjects: list[Subject], *, judge: bool = False) -> dict[str, Any]:
    """Measure every subject on the run's suite; returns what results.json holds. What earlier sessions finished is kept.

    `judge` has the judge read the categories of the paper even where the suite does not ask for it.
    """
    works, missing = gather(run)
    todo = [(s, w) for s in subjects for w in works if not _is_done(run, s, w)]
    with run.stage("evaluate") if todo else nullcontext({}) as facts:
        _measure(run, todo, missing)
        rows = _all_rows(run, works, subjects)
        facts["tokens_out"] = _tokens(rows)
    judged = judging.judge_run(run, rows) if judge or judging.asked_for(run) else None
    results = summary.summarise(run, [(s.name, s.model) for s in subjects], rows, missing | _left_out(works, subjects))
    results["judge"] = judged
    write_json(run.file("evaluation", "results.json"), results)
    return results


def _all_rows(run: Run, works: list[Work], subjects: list[Subject]) -> Rows:
    return {s.name: {w.name: list(read_jsonl(_path(run, s, w))) for w in works if _path(run, s, w).is_file()} for s in subjects}


def _tokens(rows: Rows) -> int:
    """Tokens that all rows took, those of earlier, killed sessions too: a stage's last ledger line counts all its work."""
    return sum(row.get("answer_tokens") or 0 for sets in rows.values() for found in sets.values() for row in found)


def _measure(run: Run, todo: list[tuple[Subject, Work]], missing: dict[str, str]) -> None:
    """Ask what has not been asked. One model is in memory at a time."""
    for subject in dict.fromkeys(s for s, _ in todo):
        with closing(Respondent(subject, run.config)) as respondent:
            for work in (w for s, w in todo if s == subject and _can(s, w)):
                try:
                    _ask(run, respondent, work)
                except UserError as error:
                    if "list" not in work.task:
                        raise
                    missing[work.name] = str(error)  # a public task that cannot be had: said, not hidden


def _ask(run: Run, respondent: Respondent, work: Work) -> None:
    """Put one set to one subject, from where it was left; the rows are written in the order of the set."""
    path, mark = _path(run, respondent.subject, work), _mark(run, respondent.subject, work)
    partial = path.with_suffix(".partial.jsonl")
    kept = _kept(partial, mark)
    with AppendOnly(partial) as journal:
        if not kept:
            journal.append({"id": "", "fingerprint": mark})
        for row in _rows(run, respondent, work, kept):
            journal.append(row)
            kept[row["id"]] = row
    order = [i.id for i in work.items] or [d.id for d in work.documents] or list(kept)
    rows = [kept[identity] for identity in order]
    write_jsonl(path, rows)
    write_json(path.with_suffix(".json"), {"fingerprint": mark, "rows": len(rows)})
    partial.unlink()


def _kept(partial: Path, mark: str) -> dict[str, dict[str, Any]]:
    """What an earlier session asked of the same set and weights."""
    with AppendOnly(partial):
        pass  # cuts a torn last line
    rows = list(read_jsonl(partial))
    if len(rows) > 1 and rows[0].get("fingerprint") == mark:
        return {row["id"]: row for row in rows[1:]}
    partial.unlink()
    return {}


def _rows(run: Run, respondent: Respondent, work: Work, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if work.documents:
        return _read_documents(run, respondent, work, kept)
    if work.task:
        return _run_task(run, respondent, work)
    return _put_questions(run, respondent, work, kept)


def _read_documents(run: Run, respondent: Respondent, work: Work, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Bits per UTF-8 byte of each document, weighted by its bytes: their mean is that of the whole text."""
    with bar(_label(respondent, work), len(work.documents)) as update:
        for n, document in enumerate(work.documents, 1):
            if document.id not in kept:
                nats = text_nll(respondent.loaded, document.text, run.config.base.max_seq_length)
                size = len(document.text.encode("utf-8"))
                scores = {"bits_per_byte": metrics.bits_per_byte(nats, size)}
                yield {"id": document.id, "set": work.name, "parsed": None, "scores": scores, "weights": {"bits_per_byte": size}}
            update(n)


def _run_task(run: Run, respondent: Respondent, work: Work) -> Iterator[dict[str, Any]]:
    from alif_kit.evaluation import harness

    settings, asked, questions = run.config, work.task["task"], work.task.get("rows")
    if questions:
        data = run.file("evaluation", "knowledge.json").absolute()
        write_json(data, questions)
        asked = harness.local_task(asked, data)
    found = harness.run_tasks(
        respondent.loaded,
        [asked],
        chat_format=respondent.chat_format,
        system=settings.mixture.system,
        limit=None if questions else settings.evaluation.max_examples or None,
        seed=settings.seed,
        batch_size=settings.evaluation.batch_size,
    )
    for name, rows in found.items():
        yield from ({**row, "id": f"{name}/{row['id']}" if len(found) > 1 else str(row["id"])} for row in rows)


def _put_questions(run: Run, respondent: Respondent, work: Work, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answers come in batches of like length; each becomes a row at once."""
    waiting = [item for item in work.items if item.id not in kept]
    done = len(work.items) - len(waiting)
    with bar(_label(respondent, work), len(work.items)) as update:
        for start in range(0, len(waiting), ROUND):
            batch = waiting[start : start + ROUND]
            answers = respondent.answer(batch, lambda count, before=done: update(before + count))
            for item, answer in zip(batch, answers, strict=True):
                row = scoring.row_of(item, answer, run.config.language)
                yield row | _response_loss(run, respondent, item, row)
            done += len(batch)


READING = "each window begins as a document does"
"""How documents are read; another word when that changes, so that nats read in two ways are not compared."""
ROUND = 128
"""Questions asked before their rows are written: what a kill can lose, and enough to sort by length."""


def _response_loss(run: Run, respondent: Respondent, item: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Nats per token of the expected answer of a held-out task; nothing for other sets and for endpoints."""
    example = item.facts.get("example")
    if example is None or respondent.subject.is_endpoint:
        return {}
    prompt = respondent.prompt(item)
    whole = training_text(example, respondent.loaded.tokenizer, respondent.chat_format, run.config.mixture.system)
    nats, tokens = response_nll(respondent.loaded, prompt, whole.removeprefix(prompt), run.config.base.max_seq_length)
    return {"scores": {**row["scores"], "response_loss": nats / tokens}, "weights": {"response_loss": tokens}}


def _label(respondent: Respondent, work: Work) -> str:
    return f"{respondent.subject.name} {work.name}"


def _path(run: Run, subject: Subject, work: Work) -> Path:
    return run.file("evaluation", subject.name, f"{work.name}.jsonl")


def _mark(run: Run, subject: Subject, work: Work) -> str:
    how = [READING] if work.documents else []
    return stable_id(subject.identity(), work.fingerprint(), run.config.base.max_seq_length, run.config.mixture.system, *how)


def _is_done(run: Run, subject: Subject, work: Work) -> bool:
    about = _path(run, subject, work).with_suffix(".json")
    return not _can(subject, work) or (about.is_file() and latest_json(about)["fingerprint"] == _mark(run, subject, work))


def _can(subject: Subject, work: Work) -> bool:
    return not (subject.is_endpoint and work.needs_weights)


def _left_out(works: list[Work], subjects: list[Subject]) -> dict[str, str]:
    served = [s.name for s in subjects if s.is_endpoint]
    reason = f"{', '.join(served)} is an endpoint, which gives no likelihoods of a text"
    return {w.name: reason for w in works if w.needs_weights} if served else {}
