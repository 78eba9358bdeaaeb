"""A fitted vocabulary on real tokenizers: kept pieces are cut as before, every other text is written by bytes, new pieces disturb none."""

import json
import re
import string

import pytest
from real_tokenizers import real_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from alif_kit.core.errors import UserError
from alif_kit.fitting import bpe, choice, learn, vocabulary
from alif_kit.fitting.vocabulary import Wanted
from alif_kit.languages import pack

URDU, LATIN = pack.settings("ur")["alphabet"], string.ascii_letters
SIZES = {"gemma3": 262144, "llama3_1": 128256, "qwen3": 151936, "mistral_nemo": 131072}
OTHER_SCRIPTS = (
    "नमस्ते दुनिया",
    "你好，世界",
    "Здравствуй, мир",
    "ابتثجحخ",
    "こんにちは",
    "안녕하세요",
    "مَرْحَبًا",
    "💡🇵🇰👩‍👧",
    "ꦲꦏ꧀ꦱꦫ",
    "a\tb\n\n  c",
)


def texts(split):
    return {of: [document.text for document in pack.corpus("ur", of, split)] for of in ("ur", "en")}


def sentences(text):
    return re.split(r"(?<=[۔؟!.?])\s+", text)


def toy(*merges):
    """A byte-level BPE of letters and these merges."""
    pieces = [*sorted(bpe.BYTES), *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, list(merges)))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<s>"])
    said = json.loads(made.to_str())
    return bpe.Bpe(said, made.get_vocab(), {pair: n for n, pair in enumerate(merges)}, frozenset({"<s>"}))


def test_a_piece_is_built_of_all_that_merging_makes_on_the_way():
    vocabulary = toy(("t", "h"), ("th", "e"), ("i", "n"), ("in", "g"), ("th", "ing"))
    assert vocabulary.built("the") == {"t", "h", "e", "th", "the"}
    assert vocabulary.built("thing") == {*"thing", "th", "in", "ing", "thing"}
    assert vocabulary.built("he") == {"h", "e"}  # no merge makes it


def test_a_smaller_vocabulary_keeps_its_merges_in_order_and_numbers_anew():
    whole = toy(("t", "h"), ("i", "n"), ("th", "e"), ("in", "g"))
    smaller = whole.reduced({*bpe.BYTES, "th", "the", "<s>"})
    assert smaller.read["model"]["merges"] == [["t", "h"], ["th", "e"]]
    assert [smaller.ids[text] for text in ("th", "the", "<s>")] == [256, 257, 258] == [len(smaller.ids) - n for n in (3, 2, 1)]
    larger = smaller.extended([("a", "b"), ("ab", "c")])
    assert [larger.ids[text] for text in ("the", "ab", "abc", "<s>")] == [257, 258, 259, 260]
    assert vocabulary._rows(whole, larger, [("a", "b"), ("ab", "c")])[257:] == [[258], [64, 65], [64, 65, 66], [260]]
    assert vocabulary.loaded(larger).encode("the abc<s>").ids == [257, 220, 259, 260]
    assert [(token["id"], token["content"]) for token in smaller.read["added_tokens"]] == [(258, "<s>")]


def test_texts_of_pieces():
    assert toy().text("Ø§") == "ا" and toy().text("Ġin") == " in" and toy().text("Ø") is None


def test_what_covers_a_source_comes_first_and_each_source_counts():
    from collections import Counter

    places = choice.places([Counter(a=6, b=3, c=1), Counter(c=1, d=1)])
    assert list(places) == ["a", "c", "d", "b"] and places == {"a": 0.0, "c": 0.0, "d": 0.5, "b": 0.6}


def test_reserved_tokens_are_those_that_differ_from_many_by_a_number():
    unused = {f"<unused{n}>" for n in range(60)}
    assert choice.reserved({*unused, "<s>", "<h1>", "<h2>"}) == unused


@pytest.fixture(scope="module", params=list(SIZES))
def fitted(request):
    """Name, folder, the whole tokenizer, and the vocabulary fitted to 16,384 rows of the pack's texts."""
    folder = real_tokenizer(request.param)
    found = vocabulary.vocabulary(
        folder, Wanted(texts("train"), (URDU, LATIN), 16384, 1.0), {"<start_of_turn>"}, SIZES[request.param]
    )
    return request.param, folder, Tokenizer.from_file(str(folder / "tokenizer.json")), found


def test_texts_of_kept_pieces_are_cut_as_before(fitted):
    _, _, whole, found = fitted
    smaller, kept = vocabulary.loaded(found.bpe), found.bpe.ids.keys()
    lines = [line for split in ("train", "held_out") for of in texts(split).values() for text in of for line in sentences(text)]
    before, after = (cut.encode_batch(lines, add_special_tokens=False) for cut in (whole, smaller))
    known = [(a, b) for a, b in zip(before, after, strict=True) if set(a.tokens) <= kept]
    assert len(known) > 0.8 * len(lines) and len(lines) > 2000
    assert all([found.rows[number] for number in b.ids] == [[number] for number in a.ids] for a, b in known)
    assert len(found.rows) == 16384 and found.added == 0 and found.coverage["ur"] > 0.999 < found.coverage["en"]


def test_every_other_text_is_still_written(fitted):
    _, _, whole, found = fitted
    smaller = vocabulary.loaded(found.bpe)
    for text in OTHER_SCRIPTS:
        ids = smaller.encode(text, add_special_tokens=False).ids
        plain = whole.decode(whole.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
        assert smaller.decode(ids, skip_special_tokens=False) == plain


def test_control_tokens_bytes_and_the_frame_of_a_text_stay(fitted):
    name, folder, whole, found = fitted
    smaller, ids = vocabulary.loaded(found.bpe), found.bpe.ids
    assert found.bpe.alphabet <= ids.keys() and len(found.bpe.alphabet) == 256
    said = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    named = {t["content"] for t in said["added_tokens"] if t["special"] and t["id"] < SIZES[name]}
    assert named - choice.reserved(t["content"] for t in said["added_tokens"]) <= ids.keys()
    assert sorted(ids.values()) == [*range(len(found.rows))]
    whole_ids, new_ids = whole.encode("سلام").ids, smaller.encode("سلام").ids  # with what stands around a text: BOS
    assert [found.rows[number] for number in new_ids] == [[number] for number in whole_ids]


def test_coverage_of_everything_cuts_its_texts_as_before():
    folder = real_tokenizer("qwen3")
    found = vocabulary.vocabulary(folder, Wanted(texts("train"), (URDU, LATIN), 0, 1.0), set(), SIZES["qwen3"])
    assert found.coverage == {"ur": 1.0, "en": 1.0} == found.same and len(found.rows) % 64 == 0
    assert all(before == after for before, after in found.tokens.values())


@pytest.mark.parametrize("name", ["llama3_1", "qwen3"])
def test_new_pieces_halve_the_tokens_of_urdu_and_leave_english_alone(name):
    folder = real_tokenizer(name)
    found = vocabulary.vocabulary(folder, Wanted(texts("train"), (URDU, LATIN), 16384, 1.0, add=2000), set(), SIZES[name])
    whole, larger = Tokenizer.from_file(str(folder / "tokenizer.json")), vocabulary.loaded(found.bpe)
    counts = {
        of: [sum(len(cut.encode(text, add_special_tokens=False).ids) for text in found) for cut in (whole, larger)]
        for of, found in texts("held_out").items()
    }
    assert counts["ur"][1] < 0.55 * counts["ur"][0]
    assert len(found.rows) <= 16384 and 1500 < found.added <= 2000
    pieces = {number: piece for piece, number in bpe.read(folder, SIZES[name]).ids.items()}
    new = {piece: number for piece, number in found.bpe.ids.items() if len(found.rows[number]) > 1}
    assert all("".join(pieces[part] for part in found.rows[number]) == piece for piece, number in new.items())
    alone = vocabulary.vocabulary(folder, Wanted(texts("train"), (URDU, LATIN), 16384 - 2000, 1.0), set(), SIZES[name])
    without = vocabulary.loaded(alone.bpe)
    assert all(without.encode(text).tokens == larger.encode(text).tokens for text in texts("held_out")["en"])


def test_pairs_are_learnt_inside_words_of_the_alphabet():
    tokenizer = vocabulary.loaded(toy())
    found = learn.merges(tokenizer, ["ab ab ab. xab, cd cd"] * 3, "abcd", 10)
    assert ["".join(pair) for pair in found] == ["ab", "Ġc", "Ġab", "Ġcd"]


@pytest.mark.parametrize(
    "model, said",
    [
        ({"type": "WordPiece", "vocab": {}}, "is WordPiece that cannot write every text by bytes; expected byte-pair encoding"),
        ({"type": "Unigram", "vocab": []}, "is Unigram"),
        ({"type": "BPE", "vocab": {}, "merges": [], "byte_fallback": False}, "is BPE that cannot"),
    ],
)
def test_other_kinds_of_tokenizer_are_refused(tmp_path, model, said):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model, "decoder": None, "added_tokens": []}))
    with pytest.raises(UserError, match=said):
        bpe.read(tmp_path, 256)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="holds no tokenizer.json"):
        bpe.read(tmp_path, 256)


def test_too_few_rows_are_refused_with_what_is_always_kept():
    with pytest.raises(UserError, match=r"fitting to 256 rows leaves no room: \d,\d\d\d are special pieces, bytes and single"):
        vocabulary.vocabulary(real_tokenizer("qwen3"), Wanted(texts("train"), (URDU, LATIN), 256, 1.0), set(), SIZES["qwen3"])
