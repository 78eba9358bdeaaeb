"""The public face: `import alif_kit as ak` is light, tells its story, and its calls are typed, documented and in docs/python.md."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import alif_kit as ak

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
BLOCK = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
CALLS = [name for name in ak.__all__ if name != "Run"]


def test_importing_the_package_imports_the_standard_library_only():
    code = "import sys; before = set(sys.modules); import alif_kit; print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "alif_kit" in loaded and set(loaded) <= sys.stdlib_module_names | {"alif_kit"}


def test_the_names_that_type_checkers_see_are_those_that_are_handed_on():
    tree = ast.parse(Path(ak.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    assert sorted(seen) == sorted(ak.__all__) and set(ak.__all__) <= set(dir(ak))
    for name, place in seen.items():
        found = getattr(ak, name)
        assert f"{found.__module__}.{found.__qualname__}" == place


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_typed_and_says_what_it_returns_and_raises(name):
    call = getattr(ak, name)
    signature = inspect.signature(call)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    said = inspect.getdoc(call)
    assert "Raises" in said or "raises" in said
    for parameter in list(signature.parameters)[1:]:
        assert parameter in said, parameter


def test_the_story_names_every_call_and_every_room():
    said = ak.__doc__
    assert all(f"ak.{name}" in said for name in ak.__all__)
    assert all(room.parent.name in said for room in Path(ak.__file__).parent.glob("*/__init__.py"))


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        ak.train  # noqa: B018


def test_the_page_has_the_path_in_fifteen_lines_and_names_every_call():
    assert len([line for line in BLOCK.splitlines() if line.strip()]) == 15
    beside = [name for name in ak.__all__ if f"ak.{name}" not in BLOCK]  # the toy cannot become a GGUF, nor need it be fitted
    assert beside == ["gguf", "fit"] and all(f"ak.{name}" in PAGE for name in beside)


@pytest.mark.slow
def test_the_page_runs_as_it_stands_and_again_without_repeating(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", BLOCK]
    first = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-3000:]
    run = ak.Run.resume(tmp_path / "runs" / "python")
    made = ("data/train.jsonl", "finetune/adapter/adapter_model.safetensors", "evaluation/gate.json", "release/merged/SHA256SUMS")
    assert all(run.file(name).is_file() for name in made)
    lines = first.stdout.splitlines()
    assert lines[-2].endswith("release/README.md") and any(line in ("pass", "fail", "undecided") for line in lines)
    before = {name: run.file(name).stat().st_mtime_ns for name in made[1:3]}
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    assert {name: run.file(name).stat().st_mtime_ns for name in before} == before
