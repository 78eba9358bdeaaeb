"""Fitted tokenizers on lines of any script: what kept pieces write is cut as before, and every line comes back as it did before."""

import argparse
import json
import random
import re
import string
from functools import cache
from pathlib import Path

import pytest
from real_tokenizers import real_tokenizer
from tokenizers import Tokenizer

from alif_kit.fitting import vocabulary
from alif_kit.fitting.vocabulary import Wanted
from alif_kit.languages import pack

SIZES = {"gemma3": 262144, "llama3_1": 128256, "llama3_2": 128256, "qwen3": 151936, "mistral_nemo": 131072}
BLOCKS = (
    *((0x20, 0x7F), (0x00, 0x20), (0x7F, 0xA0), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00)),
    *((0xE00, 0x1000), (0x1E00, 0x2070), (0x2070, 0x2C00), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF900)),
    *((0xFB50, 0xFE10), (0xFE70, 0xFFFF), (0x1F1E6, 0x1F200), (0x1F300, 0x1FB00), (0x10000, 0x110000)),
)
BITS = (
    *("\t", "\n", "\r\n", "\n\n\n", "    ", " " * 40, "\x00", "\u200d", "\ufe0f", "\u0301", "e\u0301", "▁", "▁▁", "Ġ", "<0x41>"),
    *("سلام ", "the ", "def f(x):\n    return x[0]\n", "<s>", "</s>", "<bos>", "<unused5>", "<|im_start|>", "👩‍👧", "🇵🇰"),
)


def random_lines(count):
    chance = random.Random(7)

    def bit():
        if chance.random() < 0.3:
            return chance.choice(BITS)
        first, last = chance.choice(BLOCKS)
        return "".join(chr(chance.randrange(first, last)) for _ in range(chance.randint(1, 12)))

    return ["".join(bit() for _ in range(chance.randint(1, 8))) for _ in range(count)]


@cache
def real_lines():
    """Sentences of the pack's texts, both splits, and a module of Python."""
    texts = [d.text for split in ("train", "held_out") for of in ("ur", "en") for d in pack.corpus("ur", of, split)]
    lines = [line for text in texts for line in re.split(r"(?<=[۔؟!.?])\s+|\n", text) if line]
    return [*lines, *Path(argparse.__file__).read_text("utf-8").splitlines()]


def wanted(rows, coverage=1.0, add=0):
    texts = {of: [document.text for document in pack.corpus("ur", of, "train")] for of in ("ur", "en")}
    return Wanted(texts, (pack.settings("ur")["alphabet"], string.ascii_letters), rows, coverage, add)


def slow(*cases):
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


@pytest.fixture(scope="module", params=["llama3_1", *slow(*((name,) for name in SIZES if name != "llama3_1"))])
def whole(request):
    return request.param, Tokenizer.from_file(str(real_tokenizer(request.param) / "tokenizer.json"))


def cut(tokenizer, lines):
    return [encoding.ids for encoding in tokenizer.encode_batch(lines, add_special_tokens=False)]


@pytest.mark.parametrize("rows, coverage, add", [(0, 1.0, 0), *slow((16384, 1.0, 0), (0, 0.999, 0), (24000, 1.0, 2000))])
def test_lines_are_cut_as_before_and_come_back_as_before(whole, rows, coverage, add):
    name, before = whole
    found = vocabulary.vocabulary(real_tokenizer(name), wanted(rows, coverage, add), set(), SIZES[name])
    after, made = vocabulary.loaded(found.bpe), random_lines(1000)
    lines = [*real_lines(), *made]
    cuts = list(zip(cut(before, lines), cut(after, lines), strict=True))
    kept = found.new_ids.keys()
    known = [(old, new) for old, new in cuts if kept >= set(old)]
    assert len(known) > 2000 and len(lines) > 5000
    if not add:
        assert all(old == [found.rows[number][0] for number in new] for old, new in known)
    for line, (old, new) in list(zip(lines, cuts, strict=True))[-1000:]:
        assert after.decode(new, skip_special_tokens=False) == before.decode(old, skip_special_tokens=False), ascii(line)
    assert len(found.rows) % 64 == 0 and (rows or coverage < 1 or found.same == {"ur": 1.0, "en": 1.0})
    assert coverage < 1 or found.coverage == {"ur": 1.0, "en": 1.0}


def test_words_that_llama_3_takes_whole_are_kept_though_no_merge_makes_them():
    folder = real_tokenizer("llama3_1")
    found = vocabulary.vocabulary(folder, wanted(0), set(), SIZES["llama3_1"])
    merged = {"".join(pair) for pair in found.bpe.ranks}
    assert [piece for piece in found.bpe.read["model"]["vocab"] if len(piece) > 1 and piece not in merged]


def test_a_tokenizer_that_cuts_off_and_pads_is_counted_on_whole_texts(tmp_path):
    folder = real_tokenizer("qwen3")
    said = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    pad = next(token for token in said["added_tokens"] if token["content"] == "<|endoftext|>")
    said["truncation"] = {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    shape = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_type_id": 0}
    said["padding"] = shape | {"pad_id": pad["id"], "pad_token": pad["content"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(said), "utf-8")
    found, plain = (vocabulary.vocabulary(f, wanted(0), set(), SIZES["qwen3"]) for f in (tmp_path, folder))
    assert found.bpe.ids == plain.bpe.ids and found.tokens == plain.tokens
    assert found.bpe.read["padding"]["pad_id"] == found.bpe.ids["<|endoftext|>"]
