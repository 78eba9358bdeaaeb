"""cli: help that teaches, one sentence and an exit code for a mistake, no traceback unless asked for."""

import json
import subprocess
import sys

import pytest
from command_tree import commands
from conftest import PATIENCE

from alif_kit import __version__


def alif(*arguments, **environment):
    import os

    command = [sys.executable, "-m", "alif_kit.cli", *arguments]
    env = {**os.environ, "COLUMNS": "160", "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=PATIENCE)


def test_every_command_has_a_sentence_of_help():
    for name, command in commands().items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)


def test_what_needs_a_run_makes_none(tmp_path):
    for command in ("gate", "merge", "gguf", "quant-study"):
        done = alif(command, "--run", str(tmp_path / "none"))
        assert done.returncode == 2 and "holds no config.json" in done.stderr, command
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_run_should_be_is_not_called_a_full_disk(tmp_path):
    (tmp_path / "file").write_text("")
    done = alif("generate", "--preset", "smoke", "--run", str(tmp_path / "file"))
    assert done.returncode == 2 and "is a file; expected the folder of a run" in done.stderr and "make room" not in done.stderr


def test_the_version():
    assert alif("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["generate", "--preset", "tpu"], "preset 'tpu' is neither a file nor one of smoke, cpu, quick, t4, paper"),
        (["generate", "--preset", "smoke", "--set", "lora.rank"], "expected FIELD=VALUE"),
        (["generate", "--preset", "smoke", "--set", "=3"], "--set got '=3'; expected FIELD=VALUE"),
        (["generate", "--set", "seed=3", "--set", "seed=4"], "--set names seed more than once; expected one value"),
        (["generate", "--preset", "smoke", "--preset=t4"], "--preset was given 2 times; expected once"),
        (["gguf", "--quant", "f16", "--quant", "q8_0"], "--quant was given 2 times; expected once, with commas between"),
        (["generate", "--preset", "smoke", "--set", "lora.rnk=3"], "unknown field lora.rnk"),
        (["pretrain", "--preset", "smoke", "--set", "lora.rank=-3"], "lora.rank is -3; expected between"),
        (["finetune", "--preset", "smoke"], "is missing; run `alif generate"),
        (["evaluate", "--preset", "smoke"], "is missing; run `alif generate"),
        (["report"], "holds no config.json"),
        (["base", "llama"], "base is 'llama'"),
        (["teacher", "demo", "--fault", "boredom=1"], "--fault got 'boredom'"),
        (["teacher", "demo", "--fault", "slow"], "--fault got 'slow'; expected KIND=RATE"),
        (["teacher", "demo", "--fault", "slow=often"], "could not convert string to float: 'often'; expected numbers"),
        (["teacher", "demo", "--fault", "slow=2"], "slow is not between 0 and 1"),
        (["synth", "dropped"], "holds no config.json"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(tmp_path, arguments, words):
    where = [] if arguments[0] in ("base", "teacher") else ["--run", str(tmp_path / "r")]
    result = alif(*arguments, *where)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr and "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("alif:")]) == 1


def test_debug_shows_the_traceback(tmp_path):
    result = alif("--debug", "report", "--run", str(tmp_path / "r"))
    assert "Traceback" in result.stderr and result.returncode == 1


def test_a_missing_key_names_the_secret_and_never_shows_one(tmp_path):
    arguments = ["generate", "--preset", "t4", "--run", str(tmp_path / "r")]
    result = alif(*arguments, OPENAI_API_KEY="")
    assert result.returncode == 2 and "OPENAI_API_KEY" in result.stderr
    canary = "sk-canary-42"
    dead = ["--set", "teacher.base_url=http://127.0.0.1:9/v1", "--set", "teacher.max_attempts=1"]
    result = alif(*arguments[:-1], str(tmp_path / "s"), *dead, OPENAI_API_KEY=canary)
    assert result.returncode == 1 and "what is paid is saved" in result.stderr
    written = "".join(p.read_text(errors="ignore") for p in (tmp_path / "s").rglob("*") if p.is_file())
    assert canary not in result.stdout + result.stderr + written


def test_generate_then_look_at_what_was_dropped(tmp_path):
    run = ["--run", str(tmp_path / "r")]
    targets = json.dumps({"qa": 6, "sentiment": 6})
    made = alif("generate", "--preset", "smoke", *run, "--set", f"synth.targets={targets}")
    assert made.returncode == 0, made.stderr
    assert "held out" in made.stdout
    again = alif("generate", *run)
    assert again.returncode == 0 and again.stdout == made.stdout
    rebuilt = alif("synth", "rebuild", *run)
    assert "12 of" in rebuilt.stdout and "no cost" in rebuilt.stdout
    unknown = alif("synth", "dropped", *run, "--reason", "boredom")
    assert unknown.returncode == 2 and "the reasons here are" in unknown.stderr


@pytest.mark.parametrize("kind", ["read-only", "not a folder"])
def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path, kind):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    place = "/sys" if kind == "read-only" else str(blocker)  # no one, not even root, can make a folder there
    result = alif("generate", "--preset", "smoke", "--run", f"{place}/r")
    assert result.returncode == 1 and "Traceback" not in result.stderr and "alif:" in result.stderr


def test_the_doctor_names_what_is_missing_and_no_value():
    result = alif("doctor", OPENAI_API_KEY="sk-canary-42")
    assert result.returncode == 0
    assert "OPENAI_API_KEY" in result.stdout and "sk-canary-42" not in result.stdout
    assert "unsloth" in result.stdout and "smoke preset" in result.stdout
