"""gemma-270m: parts found and checked, missing packages named in one sentence, Google's own token ids, and weights that know Urdu."""

import importlib.util
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from real_tokenizers import real_tokenizer

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import SeedTask
from alif_kit.evaluation.generate import answer_all, text_nll
from alif_kit.evaluation.metrics import bits_per_byte
from alif_kit.languages import pack
from alif_kit.model import gemma
from alif_kit.model.chat_format import answer_ends, control_texts, conversation_text, prompt_text
from alif_kit.training import preflight, trainer

HOUSE = Path(gemma.__file__).parents[1]


def with_parts(monkeypatch, folder, texts):
    """Packages that carry these parts, in order."""
    for number, text in enumerate(texts, 1):
        (folder / f"p{number}.gguf.part").write_text(text)

    def distribution(name):
        path = folder / f"p{name[-1]}.gguf.part"
        return SimpleNamespace(files=[SimpleNamespace(name=path.name, locate=lambda: path)])

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "distribution", distribution)


def test_a_missing_package_is_named_with_the_line_to_run(monkeypatch, tmp_path):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(UserError, match="gguf-part1, which is not installed; run: pip install gemma3-270m") as error:
        gemma.build(tmp_path / "made")
    assert "\n" not in str(error.value) and not (tmp_path / "made").exists()


def test_without_the_gguf_reader_the_reader_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="package gguf is not installed; run: pip install"):
        gemma.parts()


def test_a_package_without_its_part_is_refused(monkeypatch, tmp_path):
    with_parts(monkeypatch, tmp_path, ["one"])
    (tmp_path / "p1.gguf.part").unlink()
    with pytest.raises(UserError, match="holds no .gguf.part; expected version 1.0.0"):
        gemma.parts()


def test_the_parts_make_the_published_file_or_nothing(monkeypatch, tmp_path):
    with_parts(monkeypatch, tmp_path, ["one ", "two ", "three ", "four"])
    whole = tmp_path / "whole"
    with pytest.raises(UserError, match=r"make a file of sha256 \w{12}…, expected a5fd3b62230a…"):
        gemma.assemble(whole)
    assert whole.read_text() == "one two three four"


def test_a_built_checkpoint_is_not_built_again(monkeypatch, tmp_path):
    (tmp_path / "config.json").touch()
    monkeypatch.setattr(gemma, "parts", lambda: pytest.fail("looked for the packages"))
    assert gemma.build(tmp_path) == tmp_path


def test_a_piece_that_earned_a_thousandth_place_keeps_its_score():
    """A GGUF gives added pieces the score -1000; ▁high has it by its rank, and with 0 would be merged before all others."""
    assert gemma._piece("▁high", -1000.0, 1) == ("▁high", -1000.0, 1) and gemma._piece("in", -1.0, 1) == ("in", -1.0, 1)
    assert gemma._piece("  ", -1000.0, 4) == ("▁▁", 0.0, 4) and gemma._piece("<eos>", -1000.0, 3) == ("<eos>", 0.0, 3)
    assert gemma._piece("<unk>", -1000.0, 3) == ("<unk>", 0.0, 2)


def test_the_turns_are_those_of_googles_own_template():
    """Its template raises for roles that do not alternate; ours is written for what the kit sends."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(real_tokenizer("gemma3"))
    system, asked, answered = ({"role": role, "content": f" {role} "} for role in ("system", "user", "assistant"))
    for messages in ([asked], [asked, answered], [system, asked], [system, asked, answered, asked, answered]):
        for opened in (False, True):
            options = {"tokenize": False, "add_generation_prompt": opened}
            ours = theirs.apply_chat_template(messages, chat_template=gemma.CHAT_TEMPLATE, **options)
            assert ours == theirs.apply_chat_template(messages, **options)


def lines():
    """Urdu and English of the pack, code, and what breaks tokenizers."""
    texts = [d.text for code in ("ur", "en") for split in ("train", "held_out") for d in pack.corpus("ur", code, split)]
    texts += [f"{task.instruction}\n{task.input}\n{task.output}" for tasks in pack.seeds("ur").values() for task in tasks]
    texts += [path.read_text("utf-8") for path in HOUSE.rglob("*.py")]
    odd = [
        "",
        " ",
        "  a",
        "\t\tx\n\n\n\ny",
        "😀👨‍👩‍👧 ❤️",
        "۱۲۳ 123 १२३",
        "\u200c\u200f\ufeff",
        "<end_of_turn>",
        "a<bos>b",
        "\x00\x07",
        "ﷺ ﷲ",
    ]
    found = [*odd, *(line for text in texts for line in text.splitlines() if line), *texts]
    return [
        text for text in found if "<image_soft_token>" not in text
    ]  # Google's has that token, beyond the matrix; a text model none


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    try:
        gemma.parts()
    except UserError as reason:
        pytest.skip(str(reason))
    trainer.seam.prepare()
    return gemma.build()


@pytest.fixture(scope="module")
def loaded(folder):
    changes = {"base.model": str(folder), "base.load_in_4bit": False, "base.max_seq_length": 512}
    return trainer.load_base(config.load("smoke", changes))


@pytest.mark.slow
def test_its_tokenizer_gives_googles_ids(folder):
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoTokenizer

    ours, theirs = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(real_tokenizer("gemma3"))
    texts = lines()
    assert len(texts) > 5000
    expected = theirs(texts)["input_ids"]
    assert ours(texts)["input_ids"] == expected and {row[0] for row in expected} == {2}
    pieces = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    # SentencePiece reads no control token in a text.
    plain = [(text, row[1:]) for text, row in zip(texts, expected, strict=True) if "<" not in text]
    assert [pieces.encode(text) for text, _ in plain] == [row for _, row in plain]


@pytest.mark.slow
def test_its_frame_is_known_and_its_line_breaks_are_text(loaded):
    tokenizer = loaded.tokenizer
    preflight.check_tokenizer(tokenizer)
    assert answer_ends(tokenizer, "native") == {1, 106} and loaded.model.generation_config.eos_token_id == [1, 106]
    assert control_texts(tokenizer, "native") >= {"<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"}
    assert not control_texts(tokenizer, "native") & {"\n", "</footer>"} and len(tokenizer.all_special_ids) == 5
    asked = [{"role": "user", "content": "سلام"}]
    assert conversation_text(asked, tokenizer, "native") == "<bos><start_of_turn>user\nسلام<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.slow
def test_it_reads_and_writes_urdu(loaded):
    from alif_kit.languages.text import urdu_purity

    texts = [document.text[:1500] for document in pack.corpus("ur", "ur", "held_out")[:4]]
    nats, size = sum(text_nll(loaded, text, 512) for text in texts), sum(len(text.encode()) for text in texts)
    assert 0.8 < bits_per_byte(nats, size) < 1.2
    frame = prompt_text(SeedTask("qa", "پاکستان کا دارالحکومت کون سا شہر ہے؟", "-"), loaded.tokenizer, "alpaca")
    (answer,) = answer_all(loaded, [frame], 24, 1)
    assert urdu_purity(answer.text) > 0.9


@pytest.mark.slow
def test_its_terms_lie_beside_it(folder):
    assert "Gemma Terms of Use" in (folder / "LICENSE.html").read_text("utf-8")
    notice = (folder / "NOTICE").read_text("utf-8")
    assert notice.startswith("Gemma is provided under and subject to the Gemma Terms of Use") and "converted" in notice
