"""run_folder: resuming, refusing another configuration, the ledger."""

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run


def test_a_resume_with_other_settings_names_the_field(tmp_path):
    Run.open(tmp_path / "r", config.load("smoke"))
    Run.open(tmp_path / "r", config.load("smoke", {"teacher.concurrency": 2}))
    with pytest.raises(UserError, match=r"lora\.rank = 16, now it is 8"):
        Run.open(tmp_path / "r", config.load("smoke", {"lora.rank": 8}))


def test_the_settings_of_a_stage_may_change_until_it_begins(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    run.file("synth").mkdir()
    later = Run.open(run.path, config.load("smoke", {"corpus.source": "wikipedia", "finetune.epochs": 2}))
    assert Run.resume(run.path).config == later.config and later.config.corpus.source == "wikipedia"
    with pytest.raises(UserError, match=r"teacher\.model = 'alif-demo-teacher', now it is 'gpt-4o'"):
        Run.open(run.path, config.load(run.path / "config.json", {"teacher.model": "gpt-4o"}))
    run.file("pretrain").mkdir()
    with pytest.raises(UserError, match=r"corpus\.source = 'wikipedia', now it is 'pack'"):
        Run.open(run.path, config.load("smoke", {"finetune.epochs": 2}))


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        Run.open(tmp_path, config.load("smoke"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        Run.resume(tmp_path)


def test_the_ledger_tells_done_from_stopped(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    with pytest.raises(KeyboardInterrupt), run.stage("pretrain"):
        raise KeyboardInterrupt
    assert not run.done("pretrain")
    with run.stage("pretrain", device="cuda:0") as facts:
        facts["tokens_in"] = 7
    assert run.done("pretrain")
    assert [(line["status"], line["tokens_in"]) for line in run.ledger()] == [("stopped", 0), ("done", 7)]


def test_a_missing_file_names_the_stage_to_run(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    with pytest.raises(UserError, match="run `alif pretrain --run"):
        run.require("pretrain", "adapter", stage="pretrain")
