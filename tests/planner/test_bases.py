"""Bases: exact parameter counts, shapes read from a config.json, tokens per Urdu word of the real tokenizers."""

import json

import pytest
from real_tokenizers import real_tokenizer

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.model import without_hub
from alif_kit.planner import bases, budget, cards
from alif_kit.platforms import machine

LLAMA, GEMMA, QWEN = "unsloth/Meta-Llama-3.1-8B", "unsloth/gemma-3-4b-it", "unsloth/Qwen3-8B"

# The totals the models' pages give; gemma-3-4b with its image tower.
PUBLISHED = {
    "unsloth/gemma-3-4b-it": 4_300_079_472,
    "unsloth/gemma-3-1b-it": 999_885_952,
    "gemma-270m": 268_098_176,
    "unsloth/Qwen3-4B-Instruct-2507": 4_022_468_096,
    "unsloth/Qwen3-8B": 8_190_735_360,
    "unsloth/Llama-3.2-3B-Instruct": 3_212_749_824,
    "unsloth/Meta-Llama-3.1-8B": 8_030_261_248,
    "unsloth/Meta-Llama-3.1-8B-Instruct": 8_030_261_248,
    "unsloth/mistral-7b-v0.3": 7_248_023_552,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_computed_from_shapes_are_the_published_totals(name):
    shape = bases.known_bases()[name]
    assert shape.total == PUBLISHED[name] == shape.parameters


def test_every_known_base_is_checked_and_says_its_licence_and_end_of_turn():
    assert set(bases.known_bases()) == set(PUBLISHED)
    assert all(b.licence != "unknown" and b.end_of_turn for b in bases.known_bases().values())


def test_every_base_that_the_kit_builds_is_planned_before_it_is_built(monkeypatch):
    monkeypatch.setattr(machine, "has_internet", lambda: False)
    for name in without_hub.BUILDERS:
        chosen = config.load("t4", {"base.model": name, "base.chat_format": "alpaca"})
        assert budget.plan(chosen, cards.card("t4"), bases.find(name)).fits


LLAMA_CONFIG = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def test_a_local_config_gives_the_same_shape_and_says_that_fertility_is_assumed(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    shape = bases.find(str(tmp_path))
    assert shape.total == 8_030_261_248
    assert bases.fertility(shape) == (3.0, "assumed: Llama-3.1, Qwen3 and Aya all lie between 2.93 and 3.05")


def test_a_nested_config_leaves_gaps_to_the_library(tmp_path):
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "intermediate_size": 10240}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    shape, known = bases.find(str(tmp_path)), bases.find(GEMMA)
    assert (shape.heads, shape.kv_heads, shape.head_dim, shape.tied) == (8, 4, 256, True)
    assert (shape.linear_parameters, shape.small_parameters) == (known.linear_parameters, known.small_parameters)


@pytest.mark.parametrize(("kind", "kept"), [("llama", 0.06), ("gemma3_text", 0.15)])
def test_of_a_base_on_the_hub_a_part_is_taken_to_stay_in_16_bit_and_of_a_folder_nothing(tmp_path, monkeypatch, kind, kept):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA_CONFIG | {"model_type": kind}))
    monkeypatch.setattr(bases, "_download", lambda name: config)
    assert bases.find("somebody/model").kept_16bit == kept and bases.find(str(tmp_path)).kept_16bit == 0


def test_mixtures_missing_folders_and_an_absent_hub_are_refused_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no plain dense decoder \(num_local_experts = 8\)"):
        bases.from_config("mixture", LLAMA_CONFIG | {"num_local_experts": 8})
    with pytest.raises(UserError, match=r"holds no config\.json"):
        bases.find(str(tmp_path))
    monkeypatch.setattr(machine, "has_internet", lambda: False)
    with pytest.raises(UserError, match="nobody/nothing' is not in bases.toml, nor in the cache, and the Hub cannot be reached"):
        bases.find("nobody/nothing")


def test_a_local_tokenizer_is_measured(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    shape = bases.find(str(tmp_path))
    assert shape.fertility == 1.0 and "measured here" in shape.fertility_source


TOKENIZERS = {GEMMA: "gemma3", QWEN: "qwen3", LLAMA: "llama3_1"}


@pytest.mark.slow
def test_fertility_of_the_real_tokenizers_on_the_packs_corpus():
    found = {base: bases.measure_fertility(real_tokenizer(name) / "tokenizer.json") for base, name in TOKENIZERS.items()}
    print({base: round(value, 3) for base, value in found.items()})
    for base, value in found.items():
        assert value == pytest.approx(bases.find(base).fertility, rel=0.15), base
    assert found[GEMMA] < min(found[LLAMA], found[QWEN])


def test_what_is_no_base_is_said_before_the_hub_is_asked(tmp_path):
    file, config = tmp_path / "README.md", tmp_path / "m" / "config.json"
    file.touch()
    config.parent.mkdir()
    for name, said in ((str(file), "is a file; expected a folder"), ("/nowhere", "base /nowhere is not there; expected a folder")):
        with pytest.raises(UserError, match=said):
            bases.find(name)
    for text, said in (("{", "is no JSON"), ("[]", "names no hidden_size"), ('{"model_type": "llama"}', "names no hidden_size")):
        config.write_text(text)
        with pytest.raises(UserError, match=said):
            bases.find(str(config.parent))
    config.write_text(json.dumps(LLAMA_CONFIG))
    (config.parent / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer.json is no JSON"):
        bases.find(str(config.parent))
