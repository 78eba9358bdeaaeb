"""fitting: a vocabulary of byte-pair encoding (BPE), as tokenizer.json holds it.

In: the tokenizer.json of a base, byte-level (Llama 3, Qwen, Mistral-Nemo, SmolLM2) or SentencePiece's with byte fallback (Gemma).
Out: what each piece is built of, and the same tokenizer with some of its pieces.

A piece is built by merging pairs, earliest merge first; no merge is ever undone. So inside a piece only merges of its own
characters take place, the same ones wherever it stands, and whoever keeps a piece with all that is built on the way to it keeps how
it is cut: a text that consists of kept pieces is cut by the smaller vocabulary exactly as by the whole one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alif_kit.core.errors import UserError
from alif_kit.core.records import read_json
from alif_kit.fitting import numbering

UNIGRAM = "expected byte-pair encoding, as in Gemma, Llama 3, Qwen, Mistral-Nemo or SmolLM2"


@dataclass(frozen=True)
class Bpe:
    """`read`: tokenizer.json; `ids`: all texts that have an id, pieces and added tokens; `ranks`: pairs in the order of merging."""

    read: dict[str, Any]
    ids: dict[str, int]
    ranks: dict[tuple[str, str], int]
    added: frozenset[str]

    @cached_property
    def byte_level(self) -> bool:
        return "ByteLevel" in json.dumps(self.read["decoder"])

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """Pieces without which some text could not be written: one for each byte."""
        if self.byte_level:
            return frozenset(BYTES) & self.ids.keys()
        return frozenset(f"<0x{byte:02X}>" for byte in range(256)) & self.ids.keys()

    def text(self, piece: str) -> str | None:
        """What a piece writes; None for part of a character: `"Ø§" → "ا"`, `"▁in" → " in"`."""
        if not self.byte_level:
            return None if piece in self.alphabet else piece.replace("▁", " ")
        try:
            return bytes(BYTES[character] for character in piece).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            return None

    def built(self, piece: str) -> set[str]:
        """All pieces that merging makes on the way to this one, itself and its characters among them.

        `"the"`, of the merges t+h and th+e → {"t", "h", "e", "th", "the"}. Llama 3 takes a word that is a piece whole, also where
        no merges make it.
        """
        direct = {piece} if piece in self.added or self.read["model"].get("ignore_merges") else set()
        return direct.union(*(step for step in self.steps(list(piece))))

    def steps(self, parts: list[str]) -> list[list[str]]:
        """The parts after each merge, until none is left."""
        found = [parts]
        while len(parts) > 1:
            pairs = zip(parts, parts[1:], strict=False)
            rank, at = min((self.ranks.get(pair, NEVER), place) for place, pair in enumerate(pairs))
            if rank == NEVER:
                break
            parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]
            found.append(parts)
        return found

    def reduced(self, kept: set[str]) -> Bpe:
        """The tokenizer of these pieces and added tokens alone, in their old order."""
        order = sorted(kept, key=self.ids.get)
        new = {text: number for number, text in enumerate(order)}
        pieces = self.read["model"]["vocab"].keys() & kept
        merges = [pair for pair in self.ranks if pair[0] in pieces and pair[1] in pieces and "".join(pair) in pieces]
        return self._with(new, {piece: new[piece] for piece in order if piece in pieces}, merges)

    def _with(self, new: dict[str, int], pieces: dict[str, int], merges: list[tuple[str, str]]) -> Bpe:
        read = dict(self.read)
        read["model"] = self.read["model"] | {"vocab": pieces, "merges": [list(pair) for pair in merges]}
        read["added_tokens"] = [t | {"id": new[t["content"]]} for t in self.read["added_tokens"] if t["content"] in new]
        read["post_processor"] = numbering.around(self.read.get("post_processor"), new)
        if padding := self.read.get("padding"):
            read["padding"] = padding | {"pad_id": new[padding["pad_token"]]}
        ranks = {pair: rank for rank, pair in enumerate(merges)}
        return replace(self, read=read, ids=new, ranks=ranks, added=self.added & new.keys())

    def extended(self, merges: list[tuple[str, str]]) -> Bpe:
        """The tokenizer with pairs that are merged after all others. Their pieces come after the others and before the added tokens
        that are no pieces, to which the library tokenizers gives the ids after the last piece.
        """
        pieces = dict(self.read["model"]["vocab"])
        others = [text for text in sorted(self.ids, key=self.ids.get) if text not in pieces]
        for pair in merges:
            pieces.setdefault("".join(pair), len(pieces))
        new = pieces | {text: len(pieces) + place for place, text in enumerate(others)}
        return self._with(new, pieces, [*self.ranks, *merges])


NEVER = 2**60


def _bytes() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for U+0100 onwards."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTES = _bytes()


def checked(folder: Path) -> dict[str, Any]:
    """The base's tokenizer.json. Raises UserError for other kinds."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no tokenizer.json; {UNIGRAM}")
    found = read_json(path)
    model = found.get("model") or {}
    bytes_known = model.get("byte_fallback") or "ByteLevel" in json.dumps(found.get("decoder"))
    if model.get("type") != "BPE" or not bytes_known or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise UserError(f"the tokenizer of {folder} is {model.get('type')} that cannot write every text by bytes; {UNIGRAM}")
    return found


def read(folder: Path, rows: int) -> Bpe:
    """The vocabulary of a base that has so many rows: Gemma's tokenizer lists one token more. Raises UserError for other kinds."""
    found = checked(folder)
    pairs = (tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in found["model"]["merges"])
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    added = {token["content"]: token["id"] for token in found["added_tokens"]}
    known = {text: number for text, number in (found["model"]["vocab"] | added).items() if number < rows}
    return Bpe(found, known, ranks, frozenset(added) & known.keys())
