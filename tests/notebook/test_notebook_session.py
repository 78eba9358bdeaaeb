"""session and continuation: Drive asked for and refused, a run taken from Kaggle's input whole, nothing of one's own lost."""

import json
import os
import shutil
import sys
from pathlib import Path

import free_machines
import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import AppendOnly
from alif_kit.core.run import Run
from alif_kit.notebook import continuation, session
from alif_kit.platforms import machine


@pytest.fixture
def colab(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return free_machines.colab(monkeypatch, tmp_path / "drive" / "MyDrive")


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """The two folders of a Kaggle session: (input, working)."""
    places = tmp_path / "input", tmp_path / "working"
    for place in places:
        place.mkdir()
    free_machines.kaggle(monkeypatch, places[1])
    monkeypatch.setattr(session, "KAGGLE_INPUT", places[0])
    return places


def make(folder, *stages, answers=2, **changes):
    """A run with these stages done, and a journal of answers."""
    run = Run.open(folder, config.load("smoke", changes))
    with AppendOnly(run.file("synth", "journal.jsonl")) as journal:
        for number in range(answers):
            journal.append({"request": number, "text": "جواب"})
    for stage in stages:
        with AppendOnly(run.file("ledger.jsonl")) as ledger:
            ledger.append({"stage": stage, "status": "done", "seconds": 1.0})
    return folder


def checkpoint(folder, stage, step, whole=True):
    place = folder / stage / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(b"weights %d" % step)
    if whole:
        (place / "complete.json").write_text(json.dumps({"step": step}), "utf-8")


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Colab's Drive


def test_drive_is_asked_for_once(colab, tmp_path):
    runs = tmp_path / "drive" / "MyDrive" / "alif_kit" / "runs"
    assert session.mount_drive() == f"Google Drive is mounted now: runs are kept in {runs}."
    assert session.mount_drive() == f"Google Drive is mounted: runs are kept in {runs}."
    assert colab.asked == [(str(tmp_path / "drive"), False)]
    assert machine.durable_folder() == runs


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            free_machines.MessageError("Error: credential propagation was unsuccessful"),
            "Access to Google Drive was not given (MessageError)",
        ),
        (ValueError("mount failed: invalid oauth code"), "Access to Google Drive was not given (ValueError)"),
        (
            ValueError("mount failed: timeout during initial read of root folder"),
            "Google Drive did not answer in time (ValueError)",
        ),
        (free_machines.TimeoutException("no reply"), "Google Drive did not answer in time (TimeoutException)"),
        (NotImplementedError("unsupported in this environment"), "Google Drive could not be mounted (NotImplementedError)"),
        (ValueError("Mountpoint must not already contain files"), "holds files of this session (move them away)"),
    ],
)
def test_a_drive_that_is_refused_leaves_the_session_s_disk(colab, tmp_path, error, why):
    colab.drive_error = error
    sentence = session.mount_drive()
    assert why in sentence
    assert sentence.endswith(
        f"runs go to {tmp_path / 'runs'} on this session's disk and are lost when it ends; "
        "to keep them, run this cell again and allow access."
    )
    assert str(machine.durable_folder()) == "runs"


def test_a_drive_without_its_module(colab):
    del colab.module.drive
    assert session.mount_drive().startswith("This session has no google.colab.drive; runs go to ")


def test_a_drive_without_my_drive(colab, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "DRIVE", tmp_path / "elsewhere" / "MyDrive")
    assert session.mount_drive().startswith(f"Google Drive was mounted, but {tmp_path / 'elsewhere' / 'MyDrive'} is not there; ")


def test_no_drive_elsewhere(kaggle, colab, monkeypatch):
    assert session.mount_drive() == ""  # Kaggle, though google.colab can be imported
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    monkeypatch.delitem(sys.modules, "google.colab")
    assert session.mount_drive() == ""
    assert colab.asked == []


def test_hours_of_a_session(colab, monkeypatch):
    assert session.session_hours() == 11.0
    monkeypatch.delitem(sys.modules, "google.colab")
    assert session.session_hours() == 0.0


def test_hours_of_a_kaggle_session(kaggle):
    assert session.session_hours() == 11.5


# Kaggle's input


@pytest.mark.parametrize("where", ["version/runs/urdu", "version/urdu", "notebooks/somebody/version/a/b/runs/urdu", "urdu"])
def test_a_run_is_found_at_any_depth_and_copied_whole(kaggle, where):
    attached, working = kaggle
    source = make(attached / where, "generate", "pretrain")
    target = working / "runs" / "urdu"
    said = session.continue_from_input(target)
    assert said == f"This run goes on from {source}, which has finished generate, pretrain: copied to {target}."
    assert content(target) == content(source)
    assert Run.resume(target).done("pretrain") and not Run.resume(target).done("finetune")
    assert [path.name for path in target.parent.iterdir()] == ["urdu"]
    assert session.continue_from_input(target) == ""


def test_an_input_that_is_read_only_gives_a_run_that_can_be_written(kaggle):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate")
    for path in (source / "ledger.jsonl", source / "synth" / "journal.jsonl", source / "synth", source):
        path.chmod(0o555 if path.is_dir() else 0o444)
    target = working / "urdu"
    session.continue_from_input(target)
    modes = {path.name: oct(path.stat().st_mode & 0o700) for path in (target, target / "synth", target / "ledger.jsonl")}
    assert modes == {"urdu": "0o700", "synth": "0o700", "ledger.jsonl": "0o600"}
    source.chmod(0o755)


def test_nothing_attached_says_nothing(kaggle, monkeypatch):
    attached, working = kaggle
    assert session.continue_from_input(working / "urdu") == ""
    make(attached / "v" / "punjabi", "generate")  # another run
    assert session.continue_from_input(working / "urdu") == ""
    monkeypatch.setattr(session, "KAGGLE_INPUT", attached / "none")
    assert session.continue_from_input(working / "urdu") == ""
    assert not (working / "urdu").exists()


def test_elsewhere_nothing_is_looked_for(kaggle, monkeypatch):
    attached, working = kaggle
    make(attached / "urdu", "generate")
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert session.continue_from_input(working / "urdu") == "" and not (working / "urdu").exists()


def test_the_attached_run_with_most_done_is_taken(kaggle):
    attached, working = kaggle
    make(attached / "v1" / "urdu", "generate", answers=9)
    most = make(attached / "v2" / "urdu", "generate", "pretrain")
    make(attached / "v3" / "urdu", "generate")
    os.utime(attached / "v3" / "urdu" / "ledger.jsonl", (4e9, 4e9))
    assert session.continue_from_input(working / "urdu").startswith(f"This run goes on from {most}, ")


def test_among_equals_the_later_checkpoint_and_then_the_newer_ledger_are_taken(kaggle):
    attached, working = kaggle
    runs = [make(attached / f"v{n}" / "urdu", "generate") for n in range(3)]
    for n, run in enumerate(runs):
        os.utime(run / "ledger.jsonl", (1e9 - n, 1e9 - n))
    assert f"from {runs[0]}, " in session.continue_from_input(working / "urdu")
    shutil.rmtree(working / "urdu")
    checkpoint(runs[1], "pretrain", 20)
    checkpoint(runs[2], "pretrain", 100)
    checkpoint(runs[1], "pretrain", 400, whole=False)  # cut off while it was written
    said = session.continue_from_input(working / "urdu")
    assert f"from {runs[2]}, which has finished generate and a checkpoint at step 100: " in said


def test_a_working_copy_that_is_ahead_or_equal_stays(kaggle):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate")
    target = working / "urdu"
    shutil.copytree(source, target)
    assert session.continue_from_input(target) == ""
    make(target, "pretrain", answers=0)
    before = content(target)
    assert session.continue_from_input(target) == "" and content(target) == before


def test_an_older_state_of_the_same_run_is_replaced(kaggle):
    attached, working = kaggle
    target = make(working / "urdu", "generate")
    checkpoint(target, "pretrain", 10)
    (target / "synth" / "funnel.json").write_text("{}", "utf-8")
    source = attached / "v" / "urdu"
    shutil.copytree(target, source)
    shutil.rmtree(source / "pretrain" / "checkpoint-10")
    checkpoint(source, "pretrain", 30)
    (source / "synth" / "funnel.json").write_text('{"folded": 2}', "utf-8")
    said = session.continue_from_input(target)
    assert said == (
        f"This run goes on from {source}, which has finished generate and a checkpoint at step 30: "
        f"copied to {target} in place of an older state of it."
    )
    assert content(target) == content(source) and not (target / "pretrain" / "checkpoint-10").exists()
    assert [path.name for path in working.iterdir()] == ["urdu"]


def test_a_new_folder_with_settings_alone_is_replaced(kaggle):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate")
    target = Run.open(working / "urdu", config.load("smoke", {"finetune.max_steps": 7})).path
    assert session.continue_from_input(target).endswith(" in place of an older state of it.")
    assert content(target) == content(source)


def another_answer(target):
    with AppendOnly(target / "synth" / "journal.jsonl") as journal:
        journal.append({"request": 2, "text": "اپنا جواب"})


def a_file(target):
    (target / "release").mkdir()
    (target / "release" / "flagged.jsonl").write_text("{}\n", "utf-8")


def a_farther_checkpoint(target):
    checkpoint(target, "finetune", 50)


def other_settings(target):
    values = json.loads((target / "config.json").read_text("utf-8"))
    values["seed"] = 1
    (target / "config.json").write_text(json.dumps(values), "utf-8")


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (another_answer, "synth/journal.jsonl"),
        (a_file, "release/flagged.jsonl"),
        (a_farther_checkpoint, "finetune/checkpoint-50/adapter_model.safetensors"),
        (other_settings, "config.json"),
    ],
)
def test_work_of_one_s_own_is_never_lost(kaggle, change, holds):
    attached, working = kaggle
    target = make(working / "urdu", "generate")
    source = make(attached / "v" / "urdu", "generate", "pretrain")
    change(target)
    before = content(target)
    assert session.continue_from_input(target) == (
        f"{source} has more done (finished generate, pretrain), but {target} holds {holds}, which is not in it, so nothing was "
        f"copied; to go on from the attached run, rename {target} and run this cell again."
    )
    assert content(target) == before


def test_more_is_finished_stages_then_steps_then_journals(tmp_path):
    trained = make(tmp_path / "trained", "generate", answers=1)
    checkpoint(trained, "pretrain", 20)
    wordy = make(tmp_path / "wordy", "generate", answers=50)
    assert continuation.progress(trained) > continuation.progress(wordy)
    stopped = make(tmp_path / "stopped", answers=1)
    with AppendOnly(stopped / "ledger.jsonl") as ledger:
        ledger.append({"stage": "generate", "status": "stopped"})
    assert (continuation.progress(stopped)[0], continuation.done(stopped)) == (0, [])


def test_checkpoints_left_behind_or_half_written_are_no_loss(tmp_path):
    mine, other = make(tmp_path / "mine", "generate"), make(tmp_path / "other", "generate")
    checkpoint(mine, "pretrain", 40, whole=False)  # training throws it away, too
    assert continuation.own_work(mine, other) == ""
    checkpoint(mine, "pretrain", 20)
    assert continuation.own_work(mine, other) == "pretrain/checkpoint-20/adapter_model.safetensors"
    make(other, "pretrain", answers=0)  # finished, so its checkpoints are gone
    assert continuation.own_work(mine, other) == ""


def test_a_finished_set_holds_its_half_finished_state(tmp_path):
    mine, other = make(tmp_path / "mine", "generate"), make(tmp_path / "other", "generate")
    (mine / "evaluation" / "base").mkdir(parents=True)
    (mine / "evaluation" / "base" / "qa.partial.jsonl").write_text("{}\n", "utf-8")
    assert continuation.own_work(mine, other) == "evaluation/base/qa.partial.jsonl"
    (other / "evaluation" / "base").mkdir(parents=True)
    (other / "evaluation" / "base" / "qa.jsonl").write_text("{}\n{}\n", "utf-8")
    assert continuation.own_work(mine, other) == ""


def test_a_run_cut_off_in_its_first_stage_and_a_torn_line_count(kaggle):
    attached, working = kaggle
    early = make(attached / "v1" / "urdu", answers=3)
    assert session.continue_from_input(working / "urdu") == (
        f"This run goes on from {early}, which has finished no stage yet: copied to {working / 'urdu'}."
    )
    torn = make(attached / "v2" / "urdu", "generate", answers=3)
    with (torn / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"stage": "pretrain", "status": "do')
    assert f"from {torn}, which has finished generate: " in session.continue_from_input(working / "urdu")


def test_a_half_written_run_is_left_alone(kaggle):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate")
    whole = (source / "config.json").read_text("utf-8")
    (source / "config.json").write_text(whole[:100], "utf-8")
    assert session.continue_from_input(working / "urdu") == (
        f"{source} was left alone: its config.json is not that of a run, or was cut short."
    )
    assert not (working / "urdu").exists()
    good = make(attached / "older" / "urdu", "generate")
    assert f"from {good}, " in session.continue_from_input(working / "urdu")


def test_a_model_of_the_same_name_is_no_run(kaggle):
    attached, working = kaggle
    (attached / "models" / "urdu").mkdir(parents=True)
    (attached / "models" / "urdu" / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    assert "is not that of a run" in session.continue_from_input(working / "urdu")
    make(working / "urdu", "generate")
    assert session.continue_from_input(working / "urdu") == ""


def test_a_folder_whose_config_is_a_link_is_no_run(kaggle, tmp_path):
    attached, working = kaggle
    outside = make(tmp_path / "outside", "generate")
    source = make(attached / "v" / "urdu", "generate")
    (source / "config.json").unlink()
    (source / "config.json").symlink_to(outside / "config.json")
    assert session.continue_from_input(working / "urdu") == "" and not (working / "urdu").exists()


def test_links_are_not_followed(kaggle, tmp_path):
    attached, working = kaggle
    outside = make(tmp_path / "outside" / "urdu", "generate", "pretrain", "finetune")
    (attached / "v").mkdir()
    (attached / "v" / "urdu").symlink_to(outside)
    assert session.continue_from_input(working / "urdu") == ""
    source = make(attached / "w" / "urdu", "generate")
    (source / "pretrain").symlink_to(outside)
    (source / "synth" / "key.txt").symlink_to(outside / "ledger.jsonl")
    said = session.continue_from_input(working / "urdu")
    assert said.endswith(f"copied to {working / 'urdu'}; links in it were left out: 2.")
    assert sorted(content(working / "urdu")) == ["config.json", "ledger.jsonl", "synth/journal.jsonl"]
    assert [path for path in working.rglob("*") if path.is_symlink()] == []


def test_a_disk_that_is_too_full_says_what_is_needed(kaggle, monkeypatch):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate")
    with (source / "adapter.bin").open("wb") as file:
        file.truncate(3 * 2**30)  # sparse: takes no room here
    free = shutil.disk_usage(working)._replace(free=2**29)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    with pytest.raises(UserError) as refused:
        session.continue_from_input(working / "runs" / "urdu")
    assert str(refused.value) == (
        f"{source} needs 3.00 GiB, {working} has 0.50 GiB free, so the run cannot go on from it here; "
        f"delete what you do not need in {working}, or detach the input to begin anew"
    )
    assert list(working.iterdir()) == []


def test_a_copy_that_fails_on_the_way_changes_nothing(kaggle, monkeypatch):
    attached, working = kaggle
    target = make(working / "urdu", "generate")
    shutil.copytree(target, attached / "v" / "urdu")
    make(attached / "v" / "urdu", "pretrain", answers=0)
    before, real = content(target), shutil.copyfile

    def full(source, place, **options):
        if Path(source).name == "journal.jsonl":
            raise OSError(28, "No space left on device")
        return real(source, place, **options)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"could not be copied to .* \(.*No space left on device\), so nothing was changed"):
        session.continue_from_input(target)
    assert content(target) == before and [path.name for path in working.iterdir()] == ["urdu"]


def test_a_rename_that_fails_puts_the_run_back(kaggle, monkeypatch):
    attached, working = kaggle
    target = make(working / "urdu", "generate")
    shutil.copytree(target, attached / "v" / "urdu")
    make(attached / "v" / "urdu", "pretrain", answers=0)
    before, real = content(target), Path.rename

    def rename(self, place):
        if self.name == "urdu.partial":
            raise OSError(5, "Input/output error")
        return real(self, place)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UserError, match=r"\(Input/output error\), so nothing was changed"):
        session.continue_from_input(target)
    assert content(target) == before and [path.name for path in working.iterdir()] == ["urdu"]


def test_what_a_kill_left_is_tidied_up(kaggle):
    attached, working = kaggle
    source = make(attached / "v" / "urdu", "generate", "pretrain")
    kept = make(working / "urdu.replaced", "generate", "pretrain", "finetune")  # moved aside, the kill came before the rename
    before = content(kept)
    make(working / "urdu.partial")
    assert session.continue_from_input(working / "urdu") == ""
    assert content(working / "urdu") == before and len(content(source)) == 3
    assert [path.name for path in working.iterdir()] == ["urdu"]
