"""Guards on a lesson: each takes the path of its .py and returns a sentence per fault. No torch, no network.

The .py is the source; the .ipynb twin beside it is looked at for what only it has (ids, outputs, metadata), and for being in step.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
from jupytext.cli import jupytext as jupytext_command
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OPENING, CLOSING = "<!-- badges -->", "<!-- /badges -->"
LONGEST, WIDEST, MOST_PARAMETERS = 15, 88, 7
FIRST_PARAMETERS = ["MODE", "RUN_DIR", "HOURS"]
FORM_TYPES = {"string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "raw": (object,)}
SECRET = re.compile(r"\bsk-[\w-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bAIza[\w-]{20,}")
ABSOLUTE = re.compile(r"(?<![\w./~-])/(?:content|kaggle|home|tmp|root|work|mnt|Users)\b|\b[A-Z]:[\\/]")
PIN = re.compile(r"([A-Za-z][\w.-]*)(?:\[[\w,-]+\])?==(\d[\w.+]*\w)")


def cells(source: Path) -> list[Any]:
    return jupytext.read(source).cells


def twin(source: Path) -> dict[str, Any]:
    return json.loads(source.with_suffix(".ipynb").read_text("utf-8"))


def codes(source: Path) -> list[tuple[str, ast.Module]]:
    """(name in sentences, tree) of each code cell that parses."""
    return [(place(i), tree) for i, cell in enumerate(cells(source), 1) if cell.cell_type == "code" and (tree := parsed(cell))]


def place(number: int) -> str:
    return f"cell {number}"


def parsed(cell: Any) -> ast.Module | None:
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return None


def tagged(source: Path, tag: str) -> list[int]:
    """Numbers of the cells with a tag, from 1."""
    return [i for i, cell in enumerate(cells(source), 1) if tag in cell.metadata.get("tags", ())]


def in_step(source: Path) -> list[str]:
    """jupytext, at the pinned version, would change no byte of either file, whichever of them is the newer."""
    known = pins(ROOT)["jupytext"]
    here, said = importlib.metadata.version("jupytext"), jupytext.read(source).metadata["jupytext"]["text_representation"]
    wrong = [f"jupytext is {v}, the pin is {'/'.join(known)}" for v in (here, said.get("jupytext_version")) if {v} != known]
    changed = {name for newer in (".py", ".ipynb") for name in _changed(source, newer)}
    return wrong + [f"{name} is not in step with its pair; run `make notebooks`" for name in sorted(changed)]


def _changed(source: Path, newer: str) -> list[str]:
    """Which of the two `make notebooks` would change, when the one with this ending was saved last."""
    pair = (source, source.with_suffix(".ipynb"))
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(shutil.copy(path, folder)) for path in pair]
        for path in copies:
            os.utime(path, (stamp := 1_000_000_000 + (path.suffix == newer) * 60, stamp))
        jupytext_command(["--quiet", "--sync", *(str(path) for path in copies if path.suffix == newer)])
        return [a.name for a, b in zip(pair, copies, strict=True) if a.read_bytes() != b.read_bytes()]


def clean(source: Path) -> list[str]:
    """The twin has valid ids of its own and nothing that running leaves."""
    page, said = twin(source), []
    ids = [cell.get("id", "") for cell in page["cells"]]
    said += [f"{place(i)} has the id {id!r}" for i, id in enumerate(ids, 1) if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id)]
    said += [f"the id {id} stands twice" for id in sorted(set(ids)) if ids.count(id) > 1]
    for i, cell in enumerate(page["cells"], 1):
        left = [key for key in ("outputs", "execution_count", "attachments") if cell.get(key)]
        left += sorted(set(cell["metadata"]) - {"tags"})
        said += [f"{place(i)} keeps its {key}" for key in left]
    return said + [f"the notebook keeps its {key}" for key in page["metadata"] if key == "widgets"]


def platforms(source: Path) -> list[str]:
    """Colab and Kaggle open it with a T4 and the network."""
    data, wanted = twin(source)["metadata"], {
        "accelerator": "GPU",
        "colab.gpuType": "T4",
        "kaggle.accelerator": "nvidiaTeslaT4",
        "kaggle.isGpuEnabled": True,
        "kaggle.isInternetEnabled": True,
        "kernelspec.name": "python3",
        "kernelspec.language": "python",
        "kernelspec.display_name": "Python 3",
    }  # fmt: skip
    found = {key: data.get(key.split(".")[0], {}) for key in wanted}
    found = {key: value.get(key.split(".")[1]) if "." in key else value for key, value in found.items()}
    return [f"{key} is {found[key]!r}, expected {value!r}" for key, value in wanted.items() if found[key] != value]


def plain(source: Path) -> list[str]:
    """Each cell says or does something, once, and defines nothing."""
    said, seen = [], set()
    for i, cell in enumerate(cells(source), 1):
        tree = parsed(cell) if cell.cell_type == "code" else None
        if not cell.source.strip():
            said.append(f"{place(i)} is empty")
        elif cell.cell_type == "code" and tree is None:
            said.append(f"{place(i)} does not parse")
        said += [f"{place(i)} {fault}" for fault in _faults(tree)] if tree and cell.source.strip() else []
        content = ast.dump(tree) if tree and tree.body else " ".join(cell.source.split())
        said += [f"{place(i)} stands twice"] if content in seen else []
        seen |= {content} - {""}
    return said


def _faults(tree: ast.Module) -> list[str]:
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    said = [] if tree.body else ["is only comments"]
    for node in ast.walk(tree):
        if isinstance(node, defining):
            said.append("defines a function, class or lambda")
        if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Constant) and not node.test.value:
            said.append("holds code that never runs")
    return said


def narrow(source: Path) -> list[str]:
    """Short cells, short lines; the badges are one long line."""
    said = []
    for i, cell in enumerate(cells(source), 1):
        lines = re.sub(f"{OPENING}.*?{CLOSING}", "", cell.source, flags=re.DOTALL).splitlines()
        if cell.cell_type == "code" and len(lines) > LONGEST:
            said.append(f"{place(i)} has {len(lines)} lines, more than {LONGEST}")
        said += [f"{place(i)} has a line of {len(line)} columns: {line[:30]}" for line in lines if len(line) > WIDEST]
    return said


def discreet(source: Path) -> list[str]:
    """No secret, and no path that only one machine has."""
    kinds = ((SECRET, "a secret"), (ABSOLUTE, "an absolute path"))
    texts = [(place(i), cell.source) for i, cell in enumerate(cells(source), 1)]
    return [f"{name} holds {kind}: {m[0][:12]}" for name, text in texts for look, kind in kinds for m in look.finditer(text)]


def parameters(source: Path) -> list[str]:
    """One cell of literals that papermill and Colab's form can change."""
    if len(found := tagged(source, "parameters")) != 1:
        return [f"{len(found)} cells are tagged parameters, expected 1"]
    cell = cells(source)[found[0] - 1]
    tree, lines, names, said = parsed(cell), cell.source.splitlines(), [], []
    for node in tree.body if tree else ():
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            said.append(f"line {node.lineno} of the parameters is no assignment")
            continue
        names.append(name := node.targets[0].id)
        form = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
        try:
            said += [f"{name}: {fault}" for fault in [_form_fault(form, ast.literal_eval(node.value))] if fault]
        except ValueError:
            said.append(f"{name} is no literal")
    if names[:3] != FIRST_PARAMETERS or len(names) > MOST_PARAMETERS or len(set(names)) < len(names):
        said.append(f"the parameters are {', '.join(names)}; expected {', '.join(FIRST_PARAMETERS)} and at most four more")
    return said


def _form_fault(form: str, value: Any) -> str:
    """What is wrong with a Colab form comment, beside the value it is for."""
    if kind := re.fullmatch(r'# @param \{type: ?"(\w+)"\}', form):
        types = FORM_TYPES.get(kind[1])
        fits = types and isinstance(value, types) and (kind[1] in ("boolean", "raw") or not isinstance(value, bool))
        return "" if fits else f"{value!r} is not of the form's type {kind[1]}"
    choice = re.fullmatch(r"# @param (\[.*\])( \{allow-input: ?true\})?", form)
    try:
        offered = json.loads(choice[1]) if choice else []
    except json.JSONDecodeError:
        offered = []
    if not offered:
        return f"{form or 'nothing'!r} is no form comment that Colab reads"
    return "" if value in offered or choice[2] else f"{value!r} is not among the form's {offered}"


def install(source: Path) -> list[str]:
    """The first code cell installs, in the words of tools/front_door.py, and no other."""
    tool = front_door()
    words = tool.install_cell(tool.read_address(ROOT)).strip()
    first = next((i for i, cell in enumerate(cells(source), 1) if cell.cell_type == "code"), 0)
    found = tagged(source, "install")
    if found != [first]:
        return [f"the cells tagged install are {found}, expected [{first}], the first code cell"]
    return [] if cells(source)[first - 1].source == words else [f"{place(first)} is not the install cell; run `make front-door`"]


@cache
def front_door() -> ModuleType:
    """tools/front_door.py, which is no package."""
    spec = importlib.util.spec_from_file_location("front_door_for_guards", ROOT / "tools" / "front_door.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def pins(root: Path) -> dict[str, set[str]]:
    """Each exact pin of the project: name -> versions (xformers has one for each torch)."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    more = tomllib.loads((root / "alif_kit" / "platforms" / "pins.toml").read_text("utf-8"))
    lines = [line for line in (root / "requirements.txt").read_text("utf-8").splitlines() if line[:1].isalpha()]
    lines += [line for extra in project.values() for line in extra] + more["cuda"]["requirements"]
    lines += [f"xformers=={version}" for version in more["xformers"].values()]
    known: dict[str, set[str]] = {}
    for one in map(Requirement, lines):
        known.setdefault(canonicalize_name(one.name), set()).update(s.version for s in one.specifier if s.operator == "==")
    return known


def agreed(source: Path) -> list[str]:
    """Every name==version in a notebook or page is a pin of the project."""
    known, found = pins(ROOT), PIN.findall(source.read_text("utf-8"))
    wanted = [(name, version, known.get(canonicalize_name(name), set())) for name, version in found]
    return [f"{n}=={v} is not the pin: {'/'.join(sorted(pin)) or 'none'}" for n, v, pin in wanted if v not in pin]
