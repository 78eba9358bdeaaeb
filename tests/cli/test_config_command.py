"""cli: `alif config` shows every setting, as a table, as a page and as a schema."""

import json

import pytest
from typer.testing import CliRunner

from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import flatten


def run(*arguments):
    return CliRunner().invoke(main.app, ["config", *map(str, arguments)], env={"COLUMNS": "200"})


def test_every_setting_is_shown_with_its_value_range_and_sentence():
    printed = run("--preset", "smoke").output
    assert [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")] == list(flatten(config.Config()))
    shown = "lora.alpha = 16  (between 1 and 4096)\n    LoRA scaling; with rsLoRA the update is scaled by alpha / sqrt(rank).\n"
    assert shown in printed and 'lora.train_vocab = "full"  (one of none, rows, full)\n' in printed


def test_a_file_and_a_change_show_in_it(tmp_path):
    (tmp_path / "mine.toml").write_text("[lora]\nrank = 8\n", "utf-8")
    result = run("--config", tmp_path / "mine.toml", "--set", "lora.alpha=64")
    assert result.exit_code == 0 and "lora.rank = 8 " in result.output and "lora.alpha = 64 " in result.output


def test_the_schema_takes_the_file_of_a_run_and_refuses_a_bad_one():
    import jsonschema

    schema = json.loads(run("--schema").output)
    saved = json.loads(json.dumps(config.load("smoke").to_dict()))
    jsonschema.validate(saved, schema)
    saved["lora"]["rank"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(saved, schema)


def test_a_preset_that_is_none_is_said():
    assert isinstance(run("--preset", "tpu").exception, UserError)
