"""release: merged model, adapter and GGUF to the Hub, one repository each, private unless asked otherwise.

In: what the run folder holds, verified; the facts of the card. Out: repositories with card, licence notice and SHA256SUMS. Nothing
of this machine goes along: paths in the JSON files give way to the base's public name. Each weight file is a commit of its own and
the card comes last, so a broken connection costs one file at most, and the same command goes on from there: upload_folder skips
what is there already, in every version of huggingface_hub (upload_large_folder is deprecated in favour of it).
"""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alif_kit.core import Run, StoppedError, UserError
from alif_kit.release import cards, gguf, merge, terms, weights

# The texts of the agreements in release/: the base's, then the teacher's.
AGREEMENTS = ("LICENSE", "LICENSE-teacher")
WEIGHTS = (".safetensors", ".gguf")
FOLDERS = {"merged": ("release", "merged"), "adapter": ("finetune", "adapter"), "gguf": ("release", "gguf")}
MAKE = {"merged": "run `alif merge`", "adapter": "run `alif finetune`", "gguf": "run `alif gguf`"}
# JSON files in which the libraries and the kit note where the base lay.
PLACES = ("base_model_name_or_path", "_name_or_path", "name_or_path", "base")


@dataclass(frozen=True)
class Repository:
    """One repository to be: each of its files as a path here, or as the text that is written for it."""

    id: str
    kind: str
    files: dict[str, Path | str]

    def sizes(self) -> dict[str, int]:
        """Bytes by file."""
        return {name: len(f.encode()) if isinstance(f, str) else f.stat().st_size for name, f in self.files.items()}


def plan(run: Run, to: str, what: list[str], facts: dict[str, Any], *, public: bool = False) -> list[Repository]:
    """What would be sent where; needs neither network nor token. `what`: kinds, empty for all there are.

    Raises UserError for a name that is none or that a licence does not allow, a kind that is not there, damaged weights, and, with
    `public`, for an agreement that must go along and does not.
    """
    check_name(to, facts["terms"])
    unknown = [kind for kind in what if kind not in cards.SUFFIXES]
    if unknown:
        raise UserError(f"--what names {unknown[0]!r}; expected some of {', '.join(cards.SUFFIXES)}")
    chosen = [kind for kind in cards.SUFFIXES if kind in (what or facts["kinds"])]
    lacking = next((kind for kind in chosen if kind not in facts["kinds"]), None)
    if lacking == "adapter" and run.config.lora.after_pretraining == "merge":
        raise UserError("--what names adapter, but it stands on the merge of pretraining, which is not published; name merged")
    if lacking or not chosen:
        raise UserError(f"{run.path.name} has no {lacking or 'adapter'} to publish; {MAKE[lacking or 'adapter']} first")
    if public and (agreements := agreements_lacking(run, facts["terms"])):
        raise UserError(f"--public: {agreements[0]}")
    names = cards.repositories(to)
    published = {kind: names[kind] for kind in chosen}
    return [_repository(run, kind, names, published, facts) for kind in chosen]


def check_name(to: str, owed: list[terms.Terms]) -> None:
    """Raises UserError for what is no OWNER/NAME or breaks a naming term."""
    if not (terms.is_repository(to) and to.isascii()):
        raise UserError("--to expects OWNER/NAME, a user or an organisation and a name of letters, digits, '-', '_' and '.'")
    terms.refuse_name(to, owed)


def agreements_lacking(run: Run, owed: list[terms.Terms]) -> list[str]:
    """What must still be put beside the weights before others get them, a sentence each."""
    return [
        f"the {one.licence} wants a copy of itself beside the weights: save {one.url} as {name} in the run's release folder"
        for one, name in zip(owed, AGREEMENTS, strict=False)
        if one.copy and not _agreements(run, name)
    ]


def _came_with_the_base(run: Run) -> list[str]:
    """The lines of the base's own NOTICE, which a merge keeps."""
    path = run.file("release", "merged", "NOTICE")
    return path.read_text("utf-8").splitlines() if path.is_file() else []


def _agreements(run: Run, name: str) -> list[Path]:
    """Copies of an agreement: what was saved in the run's release folder, else, for the base's, what came with the base."""
    saved, came = run.file("release", name), run.file("release", "merged").glob("LICENSE*")
    return [saved] if saved.is_file() else sorted(filter(Path.is_file, came)) if name == AGREEMENTS[0] else []


def left_here(run: Run) -> list[str]:
    """A sentence for each GGUF file that is not sent."""
    files = sorted(run.file("release", "gguf").glob("*.gguf"))
    return [f"{file.name} is not sent: it is not known to be right" for file in files if not gguf.is_right(file)]


def _repository(run: Run, kind: str, names: dict[str, str], published: dict[str, str], facts: dict[str, Any]) -> Repository:
    folder = run.file(*FOLDERS[kind])
    sums = _verified(kind, folder)
    left_out = {"README.md", merge.SUMS}
    here = filter(gguf.is_right, folder.glob("*")) if kind == "gguf" else folder.rglob("*")
    paths = {p.relative_to(folder).as_posix(): p for p in sorted(here) if p.is_file() and p.suffix != ".partial"}
    # An adapter of a fitted base must not be put on the whole one, whose rows are others.
    base = facts["base"] if not facts["fit"] else f"{facts['base']} fitted to {facts['fit']['rows']} rows"
    files: dict[str, Path | str] = {n: _without_places(p, base) for n, p in paths.items() if n not in left_out}
    files |= {path.name: path for name in AGREEMENTS[: len(facts["terms"])] for path in _agreements(run, name)}
    notices = [one.notice + ("" if one.notice.endswith(".") else ".") for one in facts["terms"] if one.notice]
    if notices:
        came = [line for line in _came_with_the_base(run) if f"{line.rstrip('.')}." not in notices]
        files["NOTICE"] = "\n".join([*notices, *came, "The weights in this repository were modified by training."]) + "\n"
    # All but the card, which its owner may edit on the Hub.
    files[merge.SUMS] = merge.sums_text({n: isinstance(f, Path) and sums.get(n) or merge.digest(f) for n, f in files.items()})
    files["README.md"] = cards.render(facts, kind, names, published, ungated=bool(facts["causes"]))
    return Repository(names[kind], kind, files)


def _verified(kind: str, folder: Path) -> dict[str, str]:
    """The sums of the folder where it has some. Raises UserError, naming the file, for a wrong one, and for damaged weights."""
    if wrong := merge.wrong_sums(folder):
        raise UserError(f"{folder / wrong[0]} is not what {merge.SUMS} says; delete {folder} and make it again")
    if kind == "merged":
        weights.check_model(folder)
    elif kind == "adapter":
        weights.check_adapter(folder, folder)
    return merge.read_sums(folder)


def _without_places(path: Path, base: str) -> Path | str:
    """The file, or, where its JSON notes a folder of this machine as the base, its text with the base's public name instead."""
    if path.suffix != ".json" or path.stat().st_size > 1_000_000:
        return path
    values = json.loads(path.read_text("utf-8"))
    found = [k for k in PLACES if isinstance(values, dict) and Path(str(values.get(k, ""))).is_absolute()]
    return json.dumps({**values, **dict.fromkeys(found, base)}, ensure_ascii=False, indent=2) + "\n" if found else path


def send(repositories: list[Repository], token: str, *, private: bool = True) -> dict[str, bool]:
    """Send them; returns each address and whether it is private: one that was there before keeps its own state.

    Raises StoppedError, saying what has arrived, when the Hub or the network fails, and UserError when a private repository was
    asked for and a public one of that name is there.
    """
    from huggingface_hub import HfApi

    api, arrived, addresses = HfApi(token=token), [], {}
    for repository in repositories:
        try:
            api.create_repo(repository.id, private=private, exist_ok=True)
            is_private = bool(api.repo_info(repository.id).private)
            if is_private or not private:
                _upload(api, repository, arrived)
        except Exception as error:  # the library's, the network's or Xet's own, whose text may hold the token
            raise StoppedError(
                f"sending {repository.id} stopped: {_said(error, token)}; arrived so far: {', '.join(arrived) or 'nothing'}; "
                "run the same command again to go on from there"
            ) from None
        if private and not is_private:
            raise UserError(f"{repository.id} is there and public; add --public, or choose another --to")
        addresses[f"{api.endpoint}/{repository.id}"] = is_private
    return addresses


def _upload(api: Any, repository: Repository, arrived: list[str]) -> None:
    """A commit for each weight file, then one for the rest; `arrived` grows by what each has brought."""
    commits = {name: [name] for name in repository.files if name.endswith(WEIGHTS)}
    commits["the card and what belongs to the weights"] = [name for name in repository.files if name not in commits]
    with tempfile.TemporaryDirectory() as folder:
        _lay_out(repository, Path(folder))
        for what, names in commits.items():
            patterns = [glob.escape(name) for name in names]
            api.upload_folder(repo_id=repository.id, folder_path=folder, allow_patterns=patterns, commit_message=f"Add {what}")
            arrived.append(f"{what} in {repository.id}")


def _lay_out(repository: Repository, folder: Path) -> None:
    """The files in one folder as the repository will have them; weights as links where the disk knows links."""
    for name, source in repository.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, str):
            target.write_text(source, "utf-8", newline="\n")
            continue
        try:
            target.symlink_to(source.resolve())
        except OSError:
            shutil.copyfile(source, target)


def _said(error: Exception, token: str) -> str:
    """What the Hub answered, or else what the library says, on one line and without the token."""
    answered = getattr(error, "server_message", None)
    status = f"{error.response.status_code} " if answered and getattr(error, "response", None) is not None else ""
    line = status + " ".join((answered or str(error) or type(error).__name__).split())
    return (line.replace(token, "<token>") if token else line)[:300]
