"""Documentation: commands, settings, make targets and pins that it names exist; its planner table is the planner's."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from command_tree import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = README + (ROOT / "docs" / "commands.md").read_text("utf-8")


def test_every_command_is_documented():
    names = set(commands()) - {"teacher", "synth", "review"}
    names |= {f"{group} {name}" for group in ("teacher", "synth", "review") for name in commands(group)}
    assert [name for name in sorted(names) if f"alif {name}" not in COMMANDS] == []


def test_every_command_the_readme_names_exists():
    known = set(commands())
    assert set(re.findall(r"`alif ([a-z-]+)", COMMANDS)) <= known


def test_every_setting_the_documents_name_exists():
    from alif_kit.core.config import load
    from alif_kit.core.run import flatten

    known = set(flatten(load("t4")))
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = re.findall(r"--set ([a-z_.]+)=", page.read_text("utf-8"))
        assert set(named) - known <= {"field"}, page


def test_the_page_of_settings_is_what_the_command_prints():
    from alif_kit.cli.config import page
    from alif_kit.core.config import Config
    from alif_kit.core.fields import rows_of

    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == "\n".join(page(rows_of(Config()))) + "\n"


def test_what_a_free_session_buys_is_what_the_planner_says():
    spec = importlib.util.spec_from_file_location("free_session", ROOT / "bench" / "free_session.py")
    free_session = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(free_session)
    shown = README.split("<!-- free session -->\n")[1].split("\n<!-- /free session -->")[0]
    assert shown == free_session.table()


def test_a_free_session_counts_no_english_replay_as_urdu():
    from alif_kit.core.config import load
    from alif_kit.planner import bases, budget, cards

    config, base = load("t4"), bases.find("unsloth/gemma-3-4b-it")
    planned = budget.plan(config, cards.card("t4"), base, hours=11, corpus_words=1_000_000)
    row = next(line for line in README.splitlines() if line.startswith("| gemma-3-4b-it |"))
    assert planned.corpus_share == pytest.approx(10.56, abs=0.01)
    assert "| 0.23 to 0.96 million | 0.9 to 3.8 million | 2.5 to 10.6 million |" in row


def test_the_unsloth_pins_in_the_readme_are_the_pins():
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["unsloth"]
    assert f"pip install --no-deps {' '.join(pins)}" in README


def test_make_targets_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in re.findall(r"`?make ([a-z-]+)", README))


def test_nothing_names_this_machine_or_a_secret():
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if (
            path.is_file()
            and path.suffix in {".py", ".md", ".toml", ".txt", ".ipynb", ".json"}
            and not parts[0].startswith((".", "runs"))
        ):
            text = path.read_text("utf-8", errors="ignore")
            assert not re.search(r"(?<![\w.])/(?:work|root)/\w", text), path
            assert not re.search(r"sk-[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,}", text), path
