"""model: SentencePiece models, which transformers 5 no longer saves and without which ggml's converter takes Gemma for GPT-2's BPE.

In: the pieces of a GGUF, or a checkpoint folder whose tokenizer.json is SentencePiece's BPE with byte fallback, as Gemma's is. Out:
`tokenizer.model`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alif_kit.core.records import read_json

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Kinds of piece, numbered alike in GGUF and SentencePiece."""
NAMED = ("pad", "eos", "bos", "unk")
SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def write(folder: Path) -> bool:
    """Make `tokenizer.model` of the folder's tokenizer.json; whether it did. One that is there stays, and so do other tokenizers.

    A token that was added beyond the vocabulary (Gemma's <image_soft_token>) is no piece, as in Google's own file.
    """
    target, source = folder / "tokenizer.model", folder / "tokenizer.json"
    if target.is_file() or not source.is_file() or not is_like(read := read_json(source)):
        return False
    target.write_bytes(model(_pieces(read)))
    return True


def is_like(read: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is SentencePiece's BPE as Gemma has it: byte fallback, four named pieces, only spaces rewritten."""
    bpe, normalizer = read["model"], read.get("normalizer")
    if bpe.get("type") != "BPE" or not bpe.get("byte_fallback") or normalizer != SPACES:
        return False
    return {f"<{name}>" for name in NAMED} <= bpe["vocab"].keys() and sorted(bpe["vocab"].values()) == [*range(len(bpe["vocab"]))]


def _pieces(read: dict[str, Any]) -> Iterable[tuple[str, float, int]]:
    """Pieces in the order of their ids. A score says how early a piece is merged: 0, -1, -2 …; what is never merged comes last.

    `merges` [["a", "b"], ["c", "ab"]] → ("ab", 0.0), ("cab", -1.0)
    """
    bpe, added = read["model"], {token["content"]: token for token in read["added_tokens"]}
    by_id = sorted(bpe["vocab"], key=bpe["vocab"].get)
    merged = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in bpe["merges"])
    order = dict.fromkeys(["".join(pair) for pair in merged] + by_id)
    rank = {piece: -float(place) for place, piece in enumerate(piece for piece in order if piece not in added)}
    for piece in by_id:
        if piece == bpe["unk_token"]:
            kind = UNKNOWN
        elif piece in added:
            kind = CONTROL if added[piece]["special"] else USER_DEFINED
        else:
            kind = BYTE if len(piece) == 6 and piece.startswith("<0x") else NORMAL
        yield piece, rank[piece] if kind == NORMAL else 0.0, kind


def model(pieces: Iterable[tuple[str, float, int]]) -> bytes:
    """A SentencePiece model, BPE with byte fallback that leaves the text as it is, of pieces, scores and kinds in order of id."""
    from sentencepiece import sentencepiece_model_pb2

    made, names = sentencepiece_model_pb2.ModelProto(), []
    for piece, score, kind in pieces:
        made.pieces.add(piece=piece, score=score, type=kind)
        names.append(piece)
    trained, normal = made.trainer_spec, made.normalizer_spec
    trained.model_type, trained.vocab_size, trained.byte_fallback = trained.BPE, len(names), True
    for name in NAMED:
        setattr(trained, f"{name}_piece", f"<{name}>")
        setattr(trained, f"{name}_id", names.index(f"<{name}>"))
    normal.name, normal.add_dummy_prefix, normal.remove_extra_whitespaces = "identity", False, False
    return made.SerializeToString()
