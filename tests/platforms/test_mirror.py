"""mirror: what outlives a session, whole or not at all, and back again on a new machine."""

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.platforms import mirror


def make(path, **changes):
    return Run.open(path, config.load("smoke", changes))


@pytest.fixture
def run(tmp_path):
    made = make(tmp_path / "here" / "r", **{"session.mirror": str(tmp_path / "drive")})
    write(made, "data/train.jsonl", "rows")
    write(made, "pretrain/checkpoint-4/weights", "four")
    write(made, "pretrain/checkpoint-4/complete.json", "{}")
    return made


def write(run, name, text):
    path = run.file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_everything_goes_over_and_comes_back(run, tmp_path):
    mirror.push(run)
    other = make(tmp_path / "there" / "r", **{"session.mirror": str(tmp_path / "drive")})
    assert mirror.restore(other) is True
    assert names(other.path) == names(run.path)
    assert other.file("pretrain/checkpoint-4/weights").read_text() == "four"
    assert mirror.restore(other) is False  # there is work here now


def test_only_what_changed_is_copied(run, tmp_path):
    mirror.push(run)
    there = tmp_path / "drive" / "r" / "data" / "train.jsonl"
    before = there.stat().st_ino
    mirror.push(run)
    assert there.stat().st_ino == before
    write(run, "data/train.jsonl", "more rows")
    mirror.push(run)
    assert there.read_text() == "more rows"


def test_old_checkpoints_go_and_their_marker_comes_last(run, tmp_path, monkeypatch):
    mirror.push(run)
    for name in ("weights", "complete.json"):
        run.file("pretrain/checkpoint-4", name).unlink()
        write(run, f"pretrain/checkpoint-8/{name}", "8")
    run.file("pretrain/checkpoint-4").rmdir()
    copied = []
    real = mirror.shutil.copy2
    monkeypatch.setattr(mirror.shutil, "copy2", lambda a, b: (copied.append(a.name), real(a, b)))
    mirror.push(run)
    assert copied == ["weights", "complete.json"]
    assert not (tmp_path / "drive/r/pretrain/checkpoint-4").exists()


def test_a_session_that_dies_while_copying_leaves_the_older_checkpoint_in_force(run, tmp_path, monkeypatch):
    mirror.push(run)
    write(run, "pretrain/checkpoint-8/complete.json", "{}")
    write(run, "pretrain/checkpoint-8/weights", "8")
    monkeypatch.setattr(mirror.shutil, "copy2", lambda a, b: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        mirror.push(run)
    held = names(tmp_path / "drive")
    assert "r/pretrain/checkpoint-4/complete.json" in held and "r/pretrain/checkpoint-8/complete.json" not in held


def test_another_configuration_is_refused(run, tmp_path):
    mirror.push(run)
    other = make(tmp_path / "there" / "r", **{"session.mirror": str(tmp_path / "drive"), "seed": 1})
    with pytest.raises(UserError, match="seed = 3407"):
        mirror.restore(other)


def test_without_a_mirror_nothing_happens(tmp_path):
    alone = make(tmp_path / "r")
    mirror.push(alone)
    assert mirror.restore(alone) is False and names(tmp_path) == {"r/config.json"}


class FakeHub:
    """What the mirror asks of the Hub, over a dictionary of files; one call of upload_folder is one commit."""

    def __init__(self):
        self.files, self.private, self.token = {"pretrain/checkpoint-2/complete.json": b"old"}, None, "t"

    def create_repo(self, repository, private, exist_ok):
        self.private = private

    def list_repo_files(self, repository):
        return list(self.files)

    def upload_folder(self, repo_id, folder_path, ignore_patterns, delete_patterns, commit_message):
        for name in delete_patterns or []:
            del self.files[name]
        self.files |= {str(p.relative_to(folder_path)): p.read_bytes() for p in folder_path.rglob("*") if p.is_file()}


def test_the_hub_gets_one_commit_and_loses_old_checkpoints(run, monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr(mirror, "_hub", lambda: (hub, RuntimeError))
    onto_hub = Run(run.path, config.load("smoke", {"session.mirror": "hub:me/run"}))
    mirror.push(onto_hub)
    assert hub.private is True and set(hub.files) == names(run.path)


@pytest.mark.parametrize(
    ("name", "stays_here"),
    [
        ("release/merged/model-00001.safetensors", True),
        ("release/merged.partial/model.safetensors", True),
        ("release/gguf/urdu-q8_0.gguf", True),
        ("pretrain/rows/0.arrow", True),
        ("report.html", True),
        ("release/README.md", False),
        ("release/quant_study/results.json", False),
        ("release/flagged.jsonl", False),
        ("finetune/checkpoint-5/optimizer.pt", False),
    ],
)
def test_what_can_be_made_again_is_not_mirrored(name, stays_here):
    assert mirror._left_out(name) is stays_here
