"""SentencePiece models made of a tokenizer.json: pieces, scores and kinds worked out by hand, and Google's own ids."""

import json
import shutil

import pytest
from real_tokenizers import real_tokenizer
from sentencepiece import SentencePieceProcessor

from alif_kit.model import sentencepiece

BYTES = [f"<0x{number:02X}>" for number in range(256)]


def tokenizer(folder, **changes):
    """A tokenizer.json as Gemma's is, of five letters; `changes` are of its `model`."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "▁▁", *BYTES, "ab", "▁ab", "▁", "a", "b"]
    control = [{"id": number, "content": pieces[number], "special": True} for number in range(4)]
    bpe = {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": {piece: id for id, piece in enumerate(pieces)}}
    bpe |= {"merges": [["▁", "▁"], ["a", "b"], ["▁", "ab"], ["▁a", "b"]]}
    added = [*control, {"id": 4, "content": "▁▁", "special": False}, {"id": 266, "content": "<image_soft_token>", "special": True}]
    said = {"model": bpe | changes, "normalizer": sentencepiece.SPACES, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(said), "utf-8")
    return said


def test_a_tokenizer_becomes_pieces_scores_and_kinds(tmp_path):
    tokenizer(tmp_path)
    assert sentencepiece.write(tmp_path)
    from sentencepiece import sentencepiece_model_pb2

    made = sentencepiece_model_pb2.ModelProto()
    made.ParseFromString((tmp_path / "tokenizer.model").read_bytes())
    found = [(piece.piece, piece.score, piece.type) for piece in made.pieces]
    assert found[:5] == [("<pad>", 0, 3), ("<eos>", 0, 3), ("<bos>", 0, 3), ("<unk>", 0, 2), ("▁▁", 0, 4)]
    assert found[5] == ("<0x00>", 0, 6) and found[261:263] == [("ab", 0, 1), ("▁ab", -1, 1)]
    assert [piece[0] for piece in found[263:]] == ["▁", "a", "b"]  # and no <image_soft_token>
    assert found[263][1] > found[264][1] > found[265][1] and found[263][1] < -1
    pieces = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert pieces.encode("ab ab  ba€") == [261, 262, 4, 265, 264, 5 + 0xE2, 5 + 0x82, 5 + 0xAC]
    assert (pieces.pad_id(), pieces.eos_id(), pieces.bos_id(), pieces.unk_id()) == (0, 1, 2, 3)


def test_merges_of_the_older_spelling_are_read_too(tmp_path):
    tokenizer(tmp_path, merges=["a b", "▁ ab"])
    assert sentencepiece.write(tmp_path)
    assert SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")).encode("ab ab") == [261, 262]


def test_other_tokenizers_and_what_is_there_are_left_alone(tmp_path):
    assert not sentencepiece.write(tmp_path)
    said = tokenizer(tmp_path, byte_fallback=False)
    assert not sentencepiece.write(tmp_path)
    for change in ({"normalizer": None}, {"model": {"type": "WordPiece", "vocab": {}}}):
        (tmp_path / "tokenizer.json").write_text(json.dumps(said | change), "utf-8")
        assert not sentencepiece.write(tmp_path)
    tokenizer(tmp_path, vocab={"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 5})  # nothing has the id 4
    assert not sentencepiece.write(tmp_path) and not (tmp_path / "tokenizer.model").exists()
    tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_text("Google's own")
    assert not sentencepiece.write(tmp_path) and (tmp_path / "tokenizer.model").read_text() == "Google's own"


@pytest.mark.slow
def test_gemma3_without_its_model_gets_one_with_the_same_ids(tmp_path):
    from test_gemma import lines
    from transformers import AutoTokenizer

    shutil.copy(real_tokenizer("gemma3") / "tokenizer.json", tmp_path)
    assert sentencepiece.write(tmp_path)
    pieces = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert pieces.vocab_size() == 262144
    texts = [text for text in lines() if "<" not in text]  # SentencePiece reads no control token in a text
    assert len(texts) > 5000
    expected = AutoTokenizer.from_pretrained(real_tokenizer("gemma3"))(texts, add_special_tokens=False)["input_ids"]
    assert [pieces.encode(text) for text in texts] == expected
