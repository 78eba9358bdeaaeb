"""fitting: `alif fit`, from a base and languages to a checkpoint with its measures and a card.

In: a base, languages, how many rows. Out: the folder, whole or not at all, with fit.json and README.md.
"""

from __future__ import annotations

import contextlib
import shutil
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alif_kit.core.config import Config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Document, read_jsonl, stable_id, write_json
from alif_kit.core.run import Run
from alif_kit.fitting import bpe, card, numbering, write
from alif_kit.fitting.choice import ROUND
from alif_kit.fitting.vocabulary import Fitted, Wanted, vocabulary
from alif_kit.languages import pack
from alif_kit.model import checkpoint, places, without_hub
from alif_kit.model import unsloth as seam
from alif_kit.model.cache import built, cache_folder
from alif_kit.model.chat_format import frame_ids

ENGLISH, CODE, RECIPE = "en", "code", 3
"""Raise the last number when the choice of pieces changes: cached bases are then fitted anew."""


def fit(
    path: str,
    languages: Sequence[str],
    folder: Path,
    *,
    rows: int,
    coverage: float,
    add: int,
    more: Mapping[str, list[str]],
    name: str = "",
) -> dict[str, Any]:
    """Write the fitted base into `folder`; returns what fit.json holds. `more`: other texts by language, such as a run's corpus.
    `name`: what the base was asked for as, where its path does not say.

    Raises UserError for a base that cannot be fitted, an unknown language, rows that will not do, and a folder that is not empty.
    """
    _check_size(rows, add)
    if not folder.name or folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise UserError(f"{folder} is a file, or not empty, or the folder that you are in; name another folder, or delete it")
    wanted = Wanted(*_texts(languages, more), rows, 1.0 if rows else coverage, add)
    base = checkpoint.look(path)
    places.refuse_quantised(base.name, base.config)
    if checkpoint.beside(path, checkpoint.FIT):
        raise UserError(
            f"base {path} has a fitted vocabulary ({checkpoint.FIT}); name the whole base, or use it as it is (base.fit_rows=0)"
        )
    matrix = write.rows(base)
    base = checkpoint.fetch(base)
    fitted = vocabulary(base.folder, wanted, _used(base.folder), matrix)
    with _whole(folder) as partial:
        write.write(base, fitted, partial)
        about = _about(name or path, languages, wanted, fitted, matrix) | _sizes(base, partial)
        write_json(partial / checkpoint.FIT, about)
        card.write(partial, about)
        write.configure(base.folder, fitted, matrix, partial)
    return about


def _check_size(rows: int, add: int) -> None:
    if rows < 0 or rows % ROUND:
        raise UserError(f"rows is {rows}; expected a multiple of {ROUND}, such as {max(-(-rows // ROUND), 1) * ROUND}")
    if add < 0 or rows and add >= rows:
        raise UserError(f"{add} new pieces of {rows} rows leave none of the base's; expected fewer new pieces, or more rows")


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill that becomes `folder` in the end; what fails leaves none."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def base_path(config: Config) -> str:
    """The configured base, built or found, and where base.fit_rows says so fitted, once: a folder or a Hub id."""
    path, rows = without_hub.resolve(config.base.model, config.language, config.seed), config.base.fit_rows
    if not rows or checkpoint.beside(path, checkpoint.FIT).get("rows") == rows:  # fitted so already
        return path
    languages = list(dict.fromkeys((config.language, ENGLISH)))
    mark = stable_id(RECIPE, path, config.language, rows, _fingerprint(path), *_texts(languages, {}))
    options = {"rows": rows, "coverage": 1.0, "add": 0, "more": {}, "name": config.base.model}
    return str(built(cache_folder() / f"fitted-{mark}", lambda folder: fit(path, languages, folder, **options)))


def _fingerprint(path: str) -> list[Any]:
    """What changes when a folder holds another model."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def of_run(folder: Path | None, languages: Sequence[str]) -> dict[str, list[str]]:
    """Texts by language of a run's corpus and of its English replay; nothing without a run.

    Raises UserError where it has none, or is of another language.
    """
    if folder is None:
        return {}
    run = Run.resume(folder)
    corpus, language = run.file("pretrain", "corpus"), run.config.language
    if language not in languages:
        raise UserError(f"--run {folder} is of {language}, which --languages {','.join(languages)} leaves out; name it there")
    files = {language: corpus / "train.jsonl", ENGLISH: corpus / "replay.jsonl"}
    if not files[language].is_file():
        raise UserError(f"{folder} has no corpus yet; run `alif pretrain` in it, or leave --run out")
    return {of: [document.text for document in read_jsonl(path, Document)] for of, path in files.items() if path.is_file()}


def _texts(languages: Sequence[str], more: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Texts by language, and code; the alphabets. The packs' held-out documents take no part."""
    packs = [language for language in languages if language != ENGLISH]
    if not packs:
        raise UserError("--languages names no language pack; expected one such as ur, and en beside it for English")
    texts = {of: [d.text for d in pack.corpus(packs[0] if of == ENGLISH else of, of, "train")] for of in languages}
    alphabets = [string.ascii_letters if of == ENGLISH else pack.settings(of)["alphabet"] for of in languages]
    texts = {of: [*found, *more.get(of, ())] for of, found in texts.items()}
    return texts | {CODE: _code()}, tuple(alphabets)


def _code() -> list[str]:
    """Code, data and markup of many languages: a file, for what is chosen must not depend on the machine."""
    return [Path(__file__).with_name("code.txt").read_text("utf-8")]


def _used(folder: Path) -> set[str]:
    """Tokens that the base's files name: control tokens of its frame, those of its settings and configurations."""
    bpe.checked(folder)  # before transformers says of other kinds what it will
    seam.prepare()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    ids, texts = numbering.named(folder, tokenizer.get_added_vocab())
    known = {number for number in ids | frame_ids(tokenizer, "native") if 0 <= number < len(tokenizer)}
    return {*texts, *tokenizer.convert_ids_to_tokens(sorted(known))}


def _about(name: str, languages: Sequence[str], wanted: Wanted, fitted: Fitted, matrix: int) -> dict[str, Any]:
    """What was kept and what changed, by source."""
    words = {of: sum(len(text.split()) for text in texts) for of, texts in wanted.texts.items()}
    measures = {
        of: {"words": words[of], "tokens_before": before, "tokens": after, "covered": round(fitted.coverage[of], 6)}
        | {"same": round(fitted.same[of], 4)}
        for of, (before, after) in fitted.tokens.items()
    }
    found = {"base": Path(name).name if Path(name).is_dir() else name, "languages": list(languages), "coverage": wanted.coverage}
    sizes = {"rows_before": matrix, "rows": len(fitted.rows), "added": fitted.added, "added_ids": list(fitted.added_ids)}
    return found | sizes | {"sources": measures}


def _sizes(base: checkpoint.Checkpoint, folder: Path) -> dict[str, int]:
    """Parameters before and after, and bytes of weights."""
    after = checkpoint.headers(folder)
    found = {"parameters_before": sum(t.count for t in base.tensors.values()), "parameters": sum(t.count for t in after.values())}
    return found | {"bytes_before": sum(t.size for t in base.tensors.values()), "bytes": sum(t.size for t in after.values())}
