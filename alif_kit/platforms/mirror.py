"""platforms: a copy of the run folder that outlives the session, and the way back from it to a new machine.

In: a run and `session.mirror`, a folder (Drive, for example) or `hub:OWNER/NAME`, a private model repository. Out: files. A
checkpoint counts only with its marker, which is copied last, so a session that dies in the middle of copying leaves the older
checkpoint in force; older ones are pruned only after that.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alif_kit.core import Run, StoppedError
from alif_kit.platforms import machine

MARKER = "complete.json"
LEFT_OUT = ("*.partial", "*.partial/*", "*.html", "pretrain/merged/*", "pretrain/rows/*", "release/merged/*", "*.gguf")


def push(run: Run) -> None:
    """Bring the mirror up to date: what is new or changed goes over, checkpoints that are gone here go there too."""
    place = run.config.session.mirror
    if place.startswith("hub:"):
        _push_to_hub(run, place.removeprefix("hub:"))
    elif place:
        folder = _folder(run)
        _copy(_files(run.path), run.path, folder)
        for checkpoint in folder.glob("*/checkpoint-*"):
            if not (run.path / checkpoint.relative_to(folder)).exists():
                shutil.rmtree(checkpoint)


def restore(run: Run) -> bool:
    """On a machine where this run has done nothing yet, bring back what the mirror holds. Returns whether it did."""
    place = run.config.session.mirror
    if not place or run.ledger() or run.file("synth").exists() or any(run.path.glob("*/checkpoint-*")):
        return False
    if place.startswith("hub:"):
        return _pull_from_hub(run, place.removeprefix("hub:"))
    folder = _folder(run)
    if not (folder / "config.json").is_file():
        return False
    Run.open(folder, run.config)  # refuses a mirror that was made with other settings, naming the field
    _copy((p for p in _files(folder) if p.name != "config.json"), folder, run.path)
    return True


def _folder(run: Run) -> Path:
    return Path(run.config.session.mirror) / run.path.name


def _files(root: Path) -> list[Path]:
    """Everything worth keeping, markers last."""
    found = [p for p in root.rglob("*") if p.is_file() and not _left_out(p.relative_to(root).as_posix())]
    return sorted(found, key=lambda p: (p.name == MARKER, p))


def _left_out(name: str) -> bool:
    """As the Hub reads patterns: a star stands for folders too."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def _copy(files: Iterable[Path], source: Path, target: Path) -> None:
    """Copy what is missing or differs in size or time; each file appears whole or not at all."""
    for path in files:
        there, new = target / path.relative_to(source), path.stat()
        old = there.stat() if there.is_file() else None
        # Some drives keep whole seconds only.
        if not (old and old.st_size == new.st_size and abs(old.st_mtime - new.st_mtime) < 2):
            there.parent.mkdir(parents=True, exist_ok=True)
            partial = there.with_name(there.name + ".partial")
            shutil.copy2(path, partial)
            partial.replace(there)


def _hub() -> tuple[Any, type[Exception]]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    return HfApi(token=machine.secret("HF_TOKEN")), HfHubHTTPError


def _push_to_hub(run: Run, repository: str) -> None:
    """One commit, so the repository never holds half a checkpoint."""
    api, refused = _hub()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        gone = [f for f in api.list_repo_files(repository) if "/checkpoint-" in f and not run.file(f).exists()]
        api.upload_folder(
            repo_id=repository,
            folder_path=run.path,
            ignore_patterns=list(LEFT_OUT),
            delete_patterns=gone or None,
            commit_message="Mirror the run",
        )
    except refused as error:
        raise StoppedError(f"the Hub refused the mirror {repository} ({error.response.status_code}); all is saved here") from None


def _pull_from_hub(run: Run, repository: str) -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    api, refused = _hub()
    try:
        snapshot_download(repository, local_dir=run.path, token=api.token, ignore_patterns=["config.json"])
    except RepositoryNotFoundError:
        return False
    except refused as error:
        raise StoppedError(f"the Hub refused the mirror {repository} ({error.response.status_code})") from None
    return True
