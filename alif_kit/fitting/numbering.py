"""fitting: where a checkpoint names tokens, by id or by text.

In: its JSON files. Out: the tokens they name, which are kept whatever the texts are; the files with new ids.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from alif_kit.model.checkpoint import read_json

CONFIGS = ("config.json", "generation_config.json", "*processor_config.json")
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
LISTS = ("additional_special_tokens", "extra_special_tokens")
"""Settings that may list all special tokens, reserved ones too: to stand there is not to be used."""
ID, SEVERAL = ("token_id", "token_index"), ("token_id", "token_ids", "tokens")
"""How fields of a configuration end that hold the id of a token, or a list of them."""
WORDS = "bad_words_ids"
"""Holds a list of lists of ids."""


def named(folder: Path, added: Iterable[str]) -> tuple[set[int], set[str]]:
    """Ids that the configurations name; of the added tokens those that the tokenizer's settings, frame and template name."""
    ids = {number for pattern in CONFIGS for path in folder.glob(pattern) for number in _ids(read_json(path))}
    said = [json.dumps(_without_lists(read_json(folder / name)), ensure_ascii=False) for name in SETTINGS]
    said += [path.read_text("utf-8") for path in sorted(folder.glob("*.jinja"))]
    frame = read_json(folder / "tokenizer.json")
    said.append(json.dumps([frame.get("post_processor"), frame.get("padding")], ensure_ascii=False))
    return ids, {token for token in added if any(token in text for text in said)}


def _without_lists(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k != "added_tokens_decoder" and not (k in LISTS and not isinstance(v, dict))}


def _ids(config: dict[str, Any]) -> Iterator[int]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _ids(value)
        elif key.endswith(ID) and isinstance(value, int):
            yield value
        elif key.endswith(SEVERAL) and _are_ids(value):
            yield from value


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(number, int) for number in value)


def renumbered(config: dict[str, Any], new: dict[int, int], sizes: tuple[int, int]) -> dict[str, Any]:
    """A configuration with the new ids, and the new size in the place of the old; a token that is not kept has no id."""
    return {key: _renumbered(key, value, new, sizes) for key, value in config.items()}


def _renumbered(key: str, value: Any, new: dict[int, int], sizes: tuple[int, int]) -> Any:
    if isinstance(value, dict):
        return renumbered(value, new, sizes)
    if key == "vocab_size":
        return sizes[1] if value == sizes[0] else value  # a tower that hears has a vocabulary of its own
    if key == WORDS and isinstance(value, list):
        return [[new[number] for number in word] for word in value if new.keys() >= set(word)]
    if key.endswith(ID) and isinstance(value, int):
        return new.get(value)
    return [new[number] for number in value if number in new] if key.endswith(SEVERAL) and _are_ids(value) else value


def settings(read: dict[str, Any], new: dict[int, int], gone: Collection[str]) -> dict[str, Any]:
    """A tokenizer's settings with the new ids, without the tokens that are gone: loading it would add them again."""
    made = {key: _left(value, gone) if key in LISTS and isinstance(value, list) else value for key, value in read.items()}
    made |= {key: new.get(value) for key, value in read.items() if key.endswith(ID) and isinstance(value, int)}
    if known := read.get("added_tokens_decoder"):
        made["added_tokens_decoder"] = {str(new[int(number)]): token for number, token in known.items() if int(number) in new}
    return made


def _left(tokens: list[Any], gone: Collection[str]) -> list[Any]:
    return [token for token in tokens if (token["content"] if isinstance(token, dict) else token) not in gone]


def around(part: Any, new: dict[str, int]) -> Any:
    """A post-processor with the new ids of the tokens that it puts around a text.

    `{"ids": [2], "tokens": ["<bos>"]}` of a template, `["</s>", 2]` of BERT's and RoBERTa's kind.
    """
    if isinstance(part, dict):
        if "ids" in part and "tokens" in part:
            return part | {"ids": [new[token] for token in part["tokens"]]}
        return {key: around(value, new) for key, value in part.items()}
    if isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):
        return [part[0], new[part[0]]]
    return [around(value, new) for value in part] if isinstance(part, list) else part
