"""synth: the accepted pool as a data set, with a card written from the run's own numbers.

In: synth/pool.jsonl, synth/funnel.json, synth/review.jsonl where people have judged. Out: data/train.jsonl, data/eval.jsonl,
data/card.md, and data/hub/, the same as Parquet with the card as README.md: the folder that `--push` sends to the Hub.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from alif_kit.core import Run, StoppedError, UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import Example, by_category, dumps, read_jsonl, to_dict, write_atomic, write_jsonl
from alif_kit.core.run import latest_json
from alif_kit.languages import pack
from alif_kit.synth import diversity
from alif_kit.synth.review import decisions
from alif_kit.synth.split import split

SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def finish(run: Run) -> dict[str, dict[str, int]]:
    """Apply what reviewers said, split, write the files; returns counts by side and category.

    Raises UserError when the run has been fine-tuned on other data: results would no longer belong together.
    """
    accepted = read_jsonl(run.require("synth", "pool.jsonl", stage="generate"), Example)
    pool = decisions.apply(accepted, decisions.read(run), run.config.language)
    settings, seeds = run.config.synth, chain(*pack.seeds(run.config.language).values())
    train, held_out = split(pool, settings.held_out_share, run.config.seed, settings.novelty_threshold, seeds)
    _refuse_after_training(run, train)
    sides = {"train": train, "eval": held_out}
    counts = {side: _count(examples) for side, examples in sides.items()}
    page = card(run, pool, counts)
    for name in (("card.md",), ("hub", "README.md")):
        write_atomic(run.file("data", *name), page)
    for (side, examples), parquet in zip(sides.items(), ("train", "test"), strict=True):
        write_jsonl(run.file("data", f"{side}.jsonl"), examples)
        _write_parquet(run.file("data", "hub", f"{parquet}.parquet"), examples)
    return counts


def _refuse_after_training(run: Run, train: list[Example]) -> None:
    path = run.file("data", "train.jsonl")
    if run.done("finetune") and path.is_file():
        trained_on = [e.id for e in read_jsonl(path, Example)]
        if trained_on != [e.id for e in train]:
            raise UserError(
                f"{run.path} was fine-tuned on {len(trained_on)} examples that are no longer the accepted ones; "
                "copy synth/ and config.json into a new --run folder and finish there"
            )


def _count(examples: list[Example]) -> dict[str, int]:
    return {category: len(members) for category, members in by_category(examples).items() if members}


def card(run: Run, pool: list[Example], counts: dict[str, dict[str, int]]) -> str:
    """The data card, with the front matter that the Hub reads."""
    total = sum(map(sum, (side.values() for side in counts.values())))
    return (
        pack.templates(Path(__file__).parent)
        .get_template("data_card.md.j2")
        .render(
            run=run,
            language=pack.settings(run.config.language),
            rows=_statistics(run, pool, counts),
            funnel=latest_json(run.file("synth", "funnel.json")),
            directions=Counter(f"{e.meta['source']} → {e.meta['target']}" for e in pool if e.category == "translation"),
            reviewed=Counter(e.provenance.review for e in pool),
            size=next((name for most, name in SIZES if total < most), "n>1M"),
        )
    )


def _statistics(run: Run, pool: list[Example], counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """One row per category: counts, mean words of instruction, input (where there is one) and output, and how varied it is."""
    varied, rows = diversity.measure(pool, run.config.seed), []
    for category, members in by_category(pool).items():
        if members:
            words = {name: _mean_words(getattr(e, name) for e in members) for name in ("instruction", "input", "output")}
            sides = {side: counts[side].get(category, 0) for side in counts}
            rows.append({"category": category, **sides, **words, **varied[category]})
    return rows


def _mean_words(texts: Any) -> float | None:
    lengths = [len(text.split()) for text in texts if text]
    return round(sum(lengths) / len(lengths), 1) if lengths else None


def _write_parquet(path: Path, examples: list[Example]) -> None:
    """Flat columns; `meta` and `scores` as JSON text, since their keys differ from row to row."""
    import pyarrow as pa
    from pyarrow import parquet

    text, texts = pa.string(), pa.list_(pa.string())
    names = {"id": text, "category": text, "instruction": text, "input": text, "output": text, "labels": texts, "meta": text}
    names |= {"teacher": text, "request": pa.int64(), "item": pa.int64(), "prompt_hash": text}
    names |= {"seeds_shown": texts, "machine_shown": texts, "scores": text, "review": text}
    rows = [row | row["provenance"] for row in map(to_dict, examples)]
    rows = [row | {name: dumps(row[name]) for name in ("meta", "scores")} for row in rows]
    partial = path.with_name(path.name + ".partial")
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema(list(names.items()))), partial)
    partial.replace(path)


def push(run: Run, repository: str, token: str, *, private: bool = True) -> str:
    """Send data/hub/ to the Hub as one commit and return the address. Raises StoppedError when the Hub refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if repository.count("/") != 1:
        raise UserError(f"--push got {repository!r}; expected OWNER/NAME")
    folder, api = run.require("data", "hub", stage="generate"), HfApi(token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, repo_type="dataset", folder_path=folder, commit_message="Update the data set")
    except HfHubHTTPError as error:
        said = first_line(error, token, "token")
        raise StoppedError(f"the Hub refused {repository}: {said}; the data set is whole in {folder}") from None
    return f"{api.endpoint}/datasets/{repository}"


def read(run: Run) -> tuple[list[Example], list[Example]]:
    """Training and held-out examples as they were written."""
    sides = (run.require("data", f"{side}.jsonl", stage="generate") for side in ("train", "eval"))
    return tuple(list(read_jsonl(path, Example)) for path in sides)


def statistics(run: Run) -> list[dict[str, Any]]:
    """The card's rows, for a notebook."""
    train, held_out = read(run)
    return _statistics(run, train + held_out, {"train": _count(train), "eval": _count(held_out)})
