"""What `alif fit` refuses, in one sentence and with exit code 2, and what a killed fit leaves."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model

from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.corpus import blocks
from alif_kit.fitting import make
from alif_kit.model import checkpoint, without_hub
from alif_kit.planner import bases, budget, cards
from alif_kit.training import vocabulary


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model("qwen3", tmp_path_factory.mktemp("base") / "base")


@pytest.fixture
def fit(base, tmp_path, monkeypatch, capsys):
    """`alif fit` with these options; what it says, once it has been refused."""

    def call(*options, path=base):
        monkeypatch.setattr(sys, "argv", ["alif", "fit", str(path), "--out", str(tmp_path / "x"), *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in said and not (tmp_path / "x.partial").exists()
        return said

    return call


@pytest.mark.parametrize(
    "options, said",
    [
        (["--languages", "xx"], "language is 'xx'; expected one of"),
        (["--languages", "en"], "names no language pack"),
        (["--rows", 128], "leaves no room"),
        (["--rows", 320_000], "fitting to 320,000 rows is more than the base has"),
        (["--rows", 1000], "rows is 1000; expected a multiple of 64, such as 1024"),
        (["--rows", 0], "Invalid value for '--rows'"),
        (["--rows", 16384, "--coverage", 0.99], "--rows 16384 and --coverage 0.99 both say how large the vocabulary is"),
        (["--rows", 2048, "--add", 2048], "2048 new pieces of 2048 rows leave none of the base's"),
        (["--add", 20], "of the 20 new pieces asked for, which fill no 64 rows; raise --add"),
    ],
)
def test_options_that_will_not_do(fit, options, said):
    assert said in fit(*options)


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", None])
def test_other_tokenizers(fit, base, tmp_path, kind):
    other = shutil.copytree(base, tmp_path / "other")
    (other / "tokenizer.json").unlink()
    if kind:
        (other / "tokenizer.json").write_text(json.dumps({"model": {"type": kind}, "added_tokens": []}))
    assert (f"is {kind} that cannot write every text by bytes" if kind else "holds no tokenizer.json") in fit(path=other)


def test_a_base_that_is_fitted(fit, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    (other / "fit.json").write_text('{"rows": 64}')
    assert "has a fitted vocabulary (fit.json); name the whole base" in fit(path=other)


def test_a_folder_with_something_in_it(fit, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("")
    assert "is a file, or not empty" in fit("--rows", 16384)


def test_the_folder_that_one_is_in(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="or the folder that you are in; name another folder"):
        make.fit(str(base), ["ur", "en"], Path(), rows=16384, coverage=1.0, add=0, more={})


def test_a_killed_fit_leaves_nothing_that_looks_whole(base, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    options = {"rows": 16384, "coverage": 1.0, "add": 0, "more": {}}
    with monkeypatch.context() as patch:
        patch.setattr(make.card, "write", killed)
        patch.setattr(make.shutil, "rmtree", lambda *_, **__: None)  # kill -9 tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            make.fit(str(base), ["ur", "en"], tmp_path / "x", **options)
    left = tmp_path / "x.partial"
    assert not (tmp_path / "x").exists() and (left / "model.safetensors").is_file()
    with pytest.raises(UserError, match="holds no config.json"):
        without_hub.resolve(str(left), "ur", 1)
    make.fit(str(base), ["ur", "en"], tmp_path / "x", **options)
    assert (tmp_path / "x" / "config.json").is_file() and not left.exists()


def test_reserved_tokens_that_the_files_name_stay(tmp_path):
    pad = "<|reserved_special_token_9|>"
    base = tiny_model("llama", tmp_path / "base")
    ids = {token["content"]: token["id"] for token in json.loads((base / "tokenizer.json").read_text())["added_tokens"]}
    for name, new in {"config.json": {"pad_token_id": ids[pad]}, "tokenizer_config.json": {"pad_token": pad}}.items():
        (base / name).write_text(json.dumps(json.loads((base / name).read_text()) | new))
    make.fit(str(base), ["ur", "en"], tmp_path / "x", rows=16384, coverage=1.0, add=0, more={})
    said = json.loads((tmp_path / "x" / "tokenizer.json").read_text("utf-8"))
    now = {token["content"]: token["id"] for token in said["added_tokens"]}
    assert json.loads((tmp_path / "x" / "config.json").read_text())["pad_token_id"] == now[pad] < 16384
    assert "<|reserved_special_token_8|>" not in now


def test_a_stage_goes_on_with_the_vocabulary_that_began_it_only(tmp_path):
    run, base = Run.open(tmp_path / "run", config.load("smoke")), tmp_path / "base"
    base.mkdir()
    vocabulary.check_same(run, "pretrain", str(base))
    assert not run.file("pretrain").exists()  # a whole base notes nothing
    (base / "fit.json").write_text('{"rows": 64}')
    vocabulary.check_same(run, "pretrain", str(base))
    vocabulary.check_same(run, "pretrain", str(base))
    (base / "fit.json").write_text('{"rows": 64, "added": 1}')
    with pytest.raises(UserError, match="this stage was begun on another vocabulary than .* has; go on with the Python"):
        vocabulary.check_same(run, "pretrain", str(base))
    vocabulary.check_same(run, "finetune", str(base))


def test_new_pieces_have_to_be_trained(base, tmp_path):
    folder = tmp_path / "added"
    about = make.fit(str(base), ["ur", "en"], folder, rows=16384, coverage=1.0, add=512, more={})
    new = checkpoint.new_rows(str(folder))
    assert len(new) >= about["added"] > 400 and new.stop <= about["rows"]
    shape, card = bases.find(str(folder)), cards.card("t4")
    chosen = config.load("smoke", {"base.model": str(folder), "lora.train_vocab": "none"})
    with pytest.raises(UserError, match=r"lora.train_vocab is none, but base .* new pieces .*; expected rows or full: set lora"):
        budget.check(budget.plan(chosen, card, shape), chosen, card, shape)
    run = Run.open(tmp_path / "run", config.load("smoke", {"base.model": str(folder), "lora.train_vocab": "rows"}))
    from transformers import AutoTokenizer

    rows = vocabulary.trained_rows(run, AutoTokenizer.from_pretrained(folder), str(folder), about["rows"])
    assert set(rows) >= set(new) and blocks.training_texts(run)
    (folder / "merge.json").write_text('{"matrices": 1}')
    assert not checkpoint.new_rows(str(folder)) and not bases.find(str(folder)).new_rows
