"""languages: the documents that no training may see, for evaluation and for the loss during training.

In: a run folder. Out: the held-out documents of a language, from the run's prepared corpus where there is one, else from the
pack's own split.
"""

from __future__ import annotations

from pathlib import Path

from alif_kit.core import Run
from alif_kit.core.records import Document, read_jsonl
from alif_kit.languages import pack


def held_out_path(run: Run, language: str) -> Path:
    """Where the prepared corpus keeps them: `pretrain/corpus/held_out_<language>.jsonl`."""
    return run.file("pretrain", "corpus", f"held_out_{language}.jsonl")


def held_out(run: Run, language: str) -> list[Document]:
    """Held-out documents in `language` (the run's own, or `en`), in the order of their source."""
    path = held_out_path(run, language)
    if path.is_file():
        return list(read_jsonl(path, Document))
    return pack.corpus(run.config.language, language, "held_out")
