"""`alif plan`: its table, its JSON, its refusals, and that it needs neither torch nor the network."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from alif_kit.cli.plan import plan
from alif_kit.core.errors import UserError
from alif_kit.platforms import machine

app = typer.Typer()
app.command()(plan)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(machine, "query_gpus", list)


def run(*arguments):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def as_json(*arguments):
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_default_is_the_t4_preset_on_a_free_t4():
    told = as_json()
    assert (told["base"], told["gpu"], told["hours"], told["usd"]) == ("unsloth/gemma-3-4b-it", "t4", 12.0, 0.0)
    assert told["peak_vram_gib"] == pytest.approx(sum(told["parts"].values()), abs=1e-6)
    assert told["fits"] and told["recommended"]["peak_vram_gib"] <= told["offered_gib"] == 13.107
    assert told["notes"][0] == "no GPU here: planned for a free T4"
    assert {"weights", "adapters", "trained vocabulary", "gradients", "optimiser", "activations", "loss chunk", "runtime"} == set(
        told["parts"]
    )


def test_every_option_reaches_the_plan():
    told = as_json(
        *("--gpu", "a100-80", "--base", "unsloth/Meta-Llama-3.1-8B", "--rank", "32", "--batch", "3", "--accumulation", "5"),
        *("--length", "512", "--train-vocab", "full", "--load-in-16bit", "--optimiser", "adamw_torch", "--hours", "2"),
        *("--corpus-words", "1000000000", "--usd-per-hour", "1.5"),
    )
    assert told["settings"] == {
        "rank": 32,
        "batch": 3,
        "accumulation": 5,
        "length": 512,
        "train_vocab": "full",
        "load_in_4bit": False,
        "optimiser": "adamw_torch",
    }
    assert (told["usd"], told["tokens_per_step"]) == (3.0, 3 * 5 * 512)
    assert 0 < told["corpus_share"] < 1


def test_the_table_shows_what_matters():
    output = run("--gpu", "l4", "--hours", "3").output
    for words in ("peak GPU memory", "loss chunk", "Urdu words an hour", "rough", "$2.34", "share of the corpus", "Gemma Terms"):
        assert words in output, words
    assert "price of 2026-05-22" in " ".join(output.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--preset", "paper", "--gpu", "t4"), "needs 25.3 GiB, and t4 offers 13.1"),
        (("--gpu", "p100"), "p100 cannot be used"),
        (("--gpu", "t5"), "--gpu is 't5'; expected one of t4"),
        (("--stage", "evaluate"), "--stage is 'evaluate'; expected pretrain or finetune"),
        (("--train-vocab", "half"), "lora.train_vocab is 'half'"),
        (("--preset", "t5"), "preset 't5' is neither a file nor one of"),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(arguments, sentence):
    result = run(*arguments)
    assert isinstance(result.exception, UserError) and result.exception.exit_code == 2
    assert sentence in str(result.exception) and "\n" not in str(result.exception)


def test_the_tiny_base_of_the_smoke_preset_is_planned_too():
    told = as_json("--preset", "smoke")
    assert told["base"] == "tiny" and told["peak_vram_gib"] < 1


def test_it_imports_no_torch():
    code = (
        "import sys, typer; from alif_kit.cli.plan import plan; plan(preset='t4', base=None, gpu='t4', hours=None, rank=None,"
        "batch=None, accumulation=None, length=None, train_vocab=None, load_in_16bit=False, optimiser=None, corpus_words=None,"
        "stage='pretrain', usd_per_hour=None, as_json=True); assert not {'torch', 'transformers', 'unsloth'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
