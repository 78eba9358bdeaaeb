"""training: the mixture of conversations as rows of tokens for fine-tuning.

In: the sources of `mixture.sources`, the evaluation sets. Out: rows of token ids in an order that only seed and content decide,
and the counts by source, which the caller writes as finetune/mixture.json. A row is left out, and counted under its reason, when
it is no conversation (`malformed`), is in an earlier source (`duplicate`), overlaps with an evaluation set or the run's own
held-out tasks (`contaminated`), holds a text that the frame is made of (`control_text`), or is too long (`too_long`, by its id):
no row is ever cut.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from alif_kit.core import Config, Run, UserError
from alif_kit.core.records import read_jsonl, stable_id
from alif_kit.languages.contamination import EvaluationSets
from alif_kit.model.chat_format import control_texts, conversation_text, message_text
from alif_kit.training import conversations
from alif_kit.training.conversations import Row, Source

HELD_OUT = "data/eval.jsonl"


def finetuning_rows(run: Run, tokenizer: Any) -> tuple[list[list[int]], dict[str, Any]]:
    """Token ids of every conversation that is used, and the counts.

    `{"rows": 9, "tokens": 310, "too_long": [], "skipped": {}, "sources": {"own": {"rows": 10, "rows_used": 9, "tokens": 310,
    "share": 1.0, "contaminated": {"data/eval.jsonl": 1}, "duplicate": 0, …}}}`. Raises UserError for a source that is missing
    (unless mixture.skip_missing) and when nothing fits.
    """
    judge, chosen = _Judge(run, tokenizer), []
    counts: dict[str, Any] = {"rows": 0, "tokens": 0, "too_long": [], "skipped": {}, "sources": {}}
    for name, cap in run.config.mixture.sources.items():
        try:
            source = conversations.of_run(name, run.config)
            rows = list(conversations.read(source, run))
        except UserError as error:
            if not run.config.mixture.skip_missing:
                raise
            print(f"fine-tuning goes on without {name}: {error}", file=sys.stderr)
            counts["skipped"][name] = str(error)
            continue
        used, counts["sources"][name] = judge.choose(source, rows, source.cap if cap < 0 else cap)
        chosen += used
    _add_up(counts, run.config)
    return [ids for _, ids in sorted(chosen)], counts


def held_out_rows(run: Run, tokenizer: Any) -> list[list[int]]:
    """Token ids of the run's held-out tasks that fit, for the loss during training."""
    rows = map(conversations.conversation_of, read_jsonl(run.require("data", "eval.jsonl", stage="generate")))
    tokens = (tokens_of(row, tokenizer, run.config) for row in rows if row)
    return [ids for ids in tokens if len(ids) <= run.config.base.max_seq_length]


def tokens_of(row: Row, tokenizer: Any, config: Config) -> list[int]:
    """A conversation as token ids, special tokens included."""
    text = conversation_text(list(row.messages), tokenizer, config.base.chat_format, config.mixture.system)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def evaluation_texts(row: Row, *, whole: bool) -> list[str]:
    """What is compared with an evaluation set: each message as a whole and its material by itself.

    Without `whole`, an instruction that comes with material is left out: within one data set many tasks share their wording
    ("which of these four labels…") and differ in the material, which is what must not stand on both sides.
    """
    messages = [m for m in row.messages if m["role"] != "system"]
    material = [m["input"] for m in messages if m.get("input")]
    return [message_text(m) for m in messages if whole or not m.get("input")] + material


class _Judge:
    """Decides about rows one after the other; remembers what it has seen."""

    def __init__(self, run: Run, tokenizer: Any) -> None:
        self.run, self.tokenizer, self.seen = run, tokenizer, set[str]()
        path = run.file(HELD_OUT)
        self.held_out = EvaluationSets([str(path)] if path.is_file() else [])
        self.evaluation_sets = EvaluationSets(run.config.synth.evaluation_sets)
        frame = control_texts(tokenizer, run.config.base.chat_format)
        self.control = re.compile("|".join(map(re.escape, sorted(frame))) or "(?!)")

    def choose(self, source: Source, rows: list[Row | None], cap: int) -> tuple[list[tuple[str, list[int]]], dict[str, Any]]:
        """Rows that are used, each with its place in the order, and the source's counts. `cap` 0 takes all.

        The place comes from seed, name and content: the same on every machine and for a file in any folder.
        """
        name = Path(source.name).name
        order = sorted(((stable_id(self.run.config.seed, name, row.id), row) for row in rows if row), key=lambda pair: pair[0])
        reasons, sets, too_long, used = Counter(malformed=len(rows) - len(order)), Counter(), [], []
        for place, row in order:
            if cap and len(used) >= cap:
                break
            reason, ids = self._verdict(row, sets)
            reasons[reason] += 1
            if reason == "too_long":
                too_long.append(row.id)
            elif not reason:
                used.append((place, ids))
        taken = _repeated(used, source.weight)
        counts = {
            "rows": len(rows),
            "rows_used": len(used),
            "tokens": sum(len(ids) for _, ids in taken),
            "passes": source.weight,
            "contaminated": dict(sorted(sets.items())),
            **{reason: reasons[reason] for reason in ("duplicate", "control_text", "malformed")},
            "too_long": too_long,
            "beyond_cap": len(rows) - reasons.total(),
        }
        return taken, counts | {key: getattr(source, key) for key in ("category", "language", "licence", "url")}

    def _verdict(self, row: Row, sets: Counter[str]) -> tuple[str, list[int]]:
        """The reason to leave the row out, or "" and its tokens. `sets` counts the evaluation sets that rows overlap with."""
        if row.id in self.seen:
            return "duplicate", []
        self.seen.add(row.id)
        own = self.held_out.overlap(*evaluation_texts(row, whole=False))
        if overlap := self.evaluation_sets.overlap(*evaluation_texts(row, whole=True)) or (own and HELD_OUT):
            sets[overlap] += 1
            return "contaminated", []
        if any(self.control.search(message_text(m)) for m in row.messages):
            return "control_text", []
        ids = tokens_of(row, self.tokenizer, self.run.config)
        return ("too_long", []) if len(ids) > self.run.config.base.max_seq_length else ("", ids)


def _repeated(used: list[tuple[str, list[int]]], weight: float) -> list[tuple[str, list[int]]]:
    """`weight` passes over the rows, each pass with places of its own: 1.5 takes all once and the first half again."""
    whole = [(stable_id(place, number) if number else place, ids) for number in range(math.ceil(weight)) for place, ids in used]
    return whole[: round(len(used) * weight)]


def _add_up(counts: dict[str, Any], config: Config) -> None:
    """Totals over the sources, and each one's share of the tokens. Raises UserError when there is nothing to train on."""
    entries: list[dict[str, Any]] = list(counts["sources"].values())
    counts["rows"] = sum(round(entry["rows_used"] * entry["passes"]) for entry in entries)
    counts["tokens"] = sum(entry["tokens"] for entry in entries)
    counts["too_long"] = [row for entry in entries for row in entry["too_long"]]
    if not counts["rows"] and counts["too_long"]:
        raise UserError(
            f"no conversation fits within base.max_seq_length = {config.base.max_seq_length} tokens, {len(counts['too_long'])} are "
            "longer; raise it"
        )
    if not counts["rows"]:
        raise UserError("mixture.sources give no conversation to train on; add a source, or see which were left out and why")
    for entry in entries:
        entry["share"] = round(entry["tokens"] / counts["tokens"], 4)
