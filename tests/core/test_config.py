"""config: presets, overrides, and refusals that name the field."""

import json
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from alif_kit.core import config, tables
from alif_kit.core import run as changes
from alif_kit.core.errors import UserError
from alif_kit.core.fields import PAPER_TARGETS, rows_of, targets_of
from alif_kit.core.run import Run


def test_the_papers_counts_and_their_smaller_copies():
    assert sum(PAPER_TARGETS.values()) == 51_686
    assert targets_of(51_686) == PAPER_TARGETS
    assert targets_of(300) == {
        "generation": 34,
        "reasoning": 56,
        "ethics": 52,
        "qa": 47,
        "translation": 58,
        "classification": 27,
        "sentiment": 25,
    }


def test_the_papers_recipe_stands_in_its_preset():
    paper = config.load("paper")
    assert (paper.lora.rank, paper.lora.alpha, paper.lora.train_vocab) == (128, 32, "full")
    assert (paper.pretrain.learning_rate, paper.finetune.learning_rate, paper.pretrain.embedding_learning_rate) == (
        2e-5,
        5e-5,
        1e-5,
    )
    assert paper.pretrain.batch_size * paper.pretrain.gradient_accumulation == 64
    assert (paper.finetune.epochs, paper.base.chat_format, paper.base.max_seq_length) == (2, "alpaca", 2048)


@pytest.mark.parametrize("preset", config.PRESETS)
def test_a_saved_configuration_comes_back_equal(preset, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.load(preset).to_dict()))
    assert config.load(path) == config.load(preset)


def test_overrides_take_text_from_the_command_line():
    changed = config.load("smoke", {"pretrain.max_steps": "5", "base.load_in_4bit": "false", "synth.targets": '{"qa": 3}'})
    assert (changed.pretrain.max_steps, changed.base.load_in_4bit, changed.synth.targets) == (5, False, {"qa": 3})


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("pretrain.max_step", 1, "unknown field pretrain.max_step"),
        ("lora.rank", "many", "lora.rank is 'many'; expected int"),
        ("lora.rank", 0, "lora.rank is 0; expected between 1 and 1024"),
        ("lora.rank", 1.5, "lora.rank is 1.5"),
        ("lora.train_vocab", "some", "lora.train_vocab is 'some'; expected one of none, rows, full"),
        ("synth.targets", {"poetry": 3}, "synth.targets names 'poetry'"),
        ("finetune.max_steps", 0, "finetune.max_steps is 0"),
        ("base.model", "unsloth/Meta-Llama-3.1-8B", "use alpaca"),
        ("base", 3, "base is 3"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value, words):
    with pytest.raises(UserError) as caught:
        config.load("t4", {name: value})
    assert words in str(caught.value)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UserError, match="smoke, cpu, quick, t4, paper"):
        config.load("tpu")


def test_speed_may_change_on_a_resume_and_results_may_not():
    old = config.load("smoke")
    assert changes.first_difference(old, config.load("smoke", {"teacher.concurrency": 3})) is None
    assert changes.first_difference(old, config.load("smoke", {"lora.rank": 8})) == ("lora.rank", 16, 8)


def test_every_field_has_a_sentence_under_it():
    import ast
    import inspect

    for node in ast.parse(inspect.getsource(tables)).body + ast.parse(inspect.getsource(config)).body:
        if isinstance(node, ast.ClassDef):
            statements = [s for s in node.body if not isinstance(s, ast.FunctionDef)][1:]
            names = [s.target.id for s in statements if isinstance(s, ast.AnnAssign)]
            texts = [s for s in statements if isinstance(s, ast.Expr)]
            assert names and len(names) == len(texts), node.name
    assert all(is_dataclass(getattr(config.Config(), f.name)) for f in fields(config.Config)[3:])


@pytest.mark.parametrize("order", [("base.model", "base.chat_format"), ("base.chat_format", "base.model")])
def test_changes_that_belong_together_may_come_in_either_order(order):
    values = {"base.model": "unsloth/Meta-Llama-3.1-8B", "base.chat_format": "alpaca"}
    loaded = config.load("t4", {name: values[name] for name in order})
    assert loaded.base.chat_format == "alpaca" and loaded.base.model == "unsloth/Meta-Llama-3.1-8B"


def test_a_toml_file_changes_what_it_names_and_leaves_the_rest_to_its_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "smoke"\n[lora]\nrank = 8\n[synth.targets]\nqa = 3\n', "utf-8")
    loaded, smoke = config.load(path), config.load("smoke")
    assert (loaded.lora.rank, loaded.synth.targets, loaded.lora.alpha) == (8, {"qa": 3}, smoke.lora.alpha)
    assert changes.flatten(loaded) | {"lora.rank": 16, "synth.targets": smoke.synth.targets} == changes.flatten(smoke)
    path.write_text("[lora]\nrank = 8\n", "utf-8")
    assert config.load(path) == config.load("t4", {"lora.rank": 8})


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.toml", "lora = ", "a.toml is not TOML: "),
        ("a.json", "{", "a.json is not JSON: "),
        ("a.json", "[1]", "a.json holds [1]; expected a table of fields"),
        ("a.toml", "[lora]\nrang = 3", "unknown field lora.rang; did you mean lora.rank?"),
        ("a.toml", "[lora]\nrank = true", "lora.rank is True; expected a number"),
        ("a.toml", "[mixture.sources]\nown = 'all'", "mixture.sources.own is 'all'; expected int"),
        ("a.toml", "lora = 3", "lora is 3; expected a table of fields"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_a_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UserError) as caught:
        config.load(tmp_path / name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("pretrain.max_step", 1, "unknown field pretrain.max_step; did you mean pretrain.max_steps?"),
        ("lor.rank", 1, "unknown field lor.rank; did you mean lora.rank?"),
        ("gate.zzz", 1, "unknown field gate.zzz; expected one of gate.knowledge, gate.retention"),
        ("lora.rank.x", 3, "unknown field lora.rank.x; did you mean lora.rank?"),
        ("synth.targets", "{", "synth.targets is '{'; expected a table as JSON"),
        ("synth.targets", {}, "synth.targets must ask for at least 1 example"),
        ("base.load_in_4bit", "maybe", "base.load_in_4bit is 'maybe'; expected true or false"),
        ("teacher.temperature", "nan", "teacher.temperature is nan; expected between 0 and 2"),
    ],
)
def test_a_mistake_hears_what_would_do(name, value, words):
    with pytest.raises(UserError) as caught:
        config.load("t4", {name: value})
    assert words in str(caught.value)


def test_every_field_is_described_and_stands_in_the_schema():
    rows, schema = rows_of(config.Config()), config.schema()
    assert [row.name for row in rows] == list(changes.flatten(config.Config()))
    assert all(row.sentence.endswith(".") and row.kind for row in rows)
    by_name = {row.name: row for row in rows}
    assert (by_name["lora.rank"].kind, by_name["lora.rank"].allowed, by_name["lora.rank"].value) == (
        "int",
        "between 1 and 1024",
        16,
    )
    assert by_name["evaluation.suite"].allowed == "one of quick, full, paper" and by_name["gate.safety"].value == 0.05
    rank = schema["$defs"]["Lora"]["properties"]["rank"]
    assert (rank["minimum"], rank["maximum"], rank["description"]) == (1, 1024, "LoRA rank r.")
    assert not schema["additionalProperties"]


def test_the_presets_that_the_file_has_are_those_that_load():
    assert set(config._PRESETS) == set(config.PRESETS) and config.load("t4") == config.Config()


def test_a_run_of_the_first_layout_goes_on(tmp_path):
    """config.json as the kit wrote it before its tables were pydantic's: its fields in the same order, and the run opens."""
    saved = Path(__file__).parents[1] / "data" / "config_of_the_first_layout.json"
    shutil.copy(saved, tmp_path / "config.json")
    assert list(changes.flatten(config.load(saved))) == list(changes.flatten(config.load("smoke")))
    assert config.load(saved) == config.load("smoke") == Run.open(tmp_path, config.load("smoke")).config
    now, then = (json.loads(path.read_text("utf-8")) for path in (tmp_path / "config.json", saved))
    assert now["base"].pop("fit_rows") == 0 and now == then  # a field of later days, as it was in effect


def test_rows_to_fit_to_are_a_multiple_of_64():
    assert config.load("t4", {"base.fit_rows": 32_000}).base.fit_rows == 32_000
    with pytest.raises(UserError, match="base.fit_rows is 1000; expected a multiple of 64"):
        config.load("t4", {"base.fit_rows": 1000})
