"""tools/front_door.py: the address stands once; what is made from it is in step; the install cell finds the kit where it should."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("front_door", ROOT / "tools" / "front_door.py")
front_door = importlib.util.module_from_spec(spec)
sys.modules["front_door"] = front_door
spec.loader.exec_module(front_door)


@pytest.fixture
def copy(tmp_path):
    """What depends on the address, in a folder of its own."""
    root = tmp_path / "kit"
    for name in ("notebooks", "kaggle", "tools"):
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("runs", ".ipynb_checkpoints", "unsloth*", "__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "CITATION.cff", "alif_kit/__init__.py", "alif_kit/pins.toml"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def edit(path, before, after):
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def test_the_repository_is_in_step():
    assert front_door.check(ROOT) == []


def test_publishing_changes_every_place_and_doing_it_again_none(copy):
    before = json.loads((copy / "notebooks" / "00_quickstart.ipynb").read_text("utf-8"))
    changed = {path.relative_to(copy).as_posix() for path in front_door.publish_as(copy, "Some-One/urdu_kit", "some1")}
    assert {
        "pyproject.toml",
        "README.md",
        "CITATION.cff",
        "notebooks/05_release.py",
        "kaggle/03_finetune/kernel-metadata.json",
    } <= changed
    assert front_door.check(copy) == [] and front_door.write(copy) == []
    for path in (*copy.glob("notebooks/*"), copy / "README.md", copy / "CITATION.cff"):
        text = path.read_text("utf-8")
        assert "https://github.com/Some-One/urdu_kit" in text and "github.com/OWNER/alif_kit" not in text, path
    after = json.loads((copy / "notebooks" / "00_quickstart.ipynb").read_text("utf-8"))
    assert [cell["id"] for cell in after["cells"]] == [cell["id"] for cell in before["cells"]]
    kernel = json.loads((copy / "kaggle" / "03_finetune" / "kernel-metadata.json").read_text())
    assert (kernel["id"], kernel["kernel_sources"]) == ("some1/alif-kit-03-finetune", ["some1/alif-kit-02-pretrain"])


@pytest.mark.parametrize(
    "path, before, after, words",
    [
        ("notebooks/01_generate.py", "install.into_image()", "pass", "notebooks/01_generate.py is not what"),
        ("notebooks/02_pretrain.py", "@v0.1.0", "@v0.0.9", "notebooks/02_pretrain.py is not what"),
        ("README.md", "[![Open in Kaggle]", "[![Open]", "README.md is not what"),
        ("CITATION.cff", "repository-code: https", "repository-code: http", "CITATION.cff is not what"),
        ("kaggle/00_quickstart/kernel-metadata.json", "NvidiaTeslaT4", "NvidiaTeslaP100", "machine_shape is 'nvidiateslap100'"),
        (
            "kaggle/00_quickstart/kernel-metadata.json",
            '"enable_internet": true',
            '"enable_internet": false',
            "enable_internet is False",
        ),
        ("kaggle/04_evaluate/kernel-metadata.json", "04-evaluate", "four", "the title's slug 'alif-kit-04-evaluate'"),
        ("kaggle/05_release/kernel-metadata.json", "05_release.ipynb", "05.ipynb", "05.ipynb is not there"),
    ],
)
def test_what_is_out_of_step_is_said(copy, path, before, after, words):
    edit(copy / path, before, after)
    assert any(words in line for line in front_door.check(copy))


@pytest.mark.parametrize(
    "path, before, words",
    [
        ("README.md", "<!-- badges -->", "README.md has no place for badges"),
        ("notebooks/00_quickstart.py", ' tags=["install"]', "has no install cell"),
        ("notebooks/00_quickstart.py", "**Time, memory, cost:**", "lacks its title, **What"),
        ("pyproject.toml", "OWNER/alif_kit", "expected https://github.com/OWNER/NAME"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_missing_place_is_refused(copy, path, before, words, capsys):
    edit(copy / path, before, "")
    assert front_door.main(["check"], copy) == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["kit", "a/b/c", "-a/b", "a--b/c", "a/b c", "a/.."])
def test_a_name_that_github_would_not_take_changes_nothing(copy, name, capsys):
    before = (copy / "pyproject.toml").read_text()
    assert front_door.main(["publish-as", name], copy) == 2 and "expected OWNER/NAME" in capsys.readouterr().err
    assert front_door.main(["publish-as"], copy) == 2 and (copy / "pyproject.toml").read_text() == before


def test_make_takes_the_name_as_its_argument():
    for words, asked in ((["publish-as", "a/b"], "publish-as a/b"), (["publish-as", "a/b", "KAGGLE=c"], "publish-as a/b c")):
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and f"front_door.py {asked}" in done.stdout


# ---- the install cell, really run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python without the kit and with a pip that writes down what it is asked."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (folder / "fake" / "pip").mkdir(parents=True)
    (folder / "fake" / "pip" / "__init__.py").touch()
    said = "import os, sys\nfile = open(os.environ['PIP_SAYS'], 'w')\nprint('PIP', *sys.argv[1:], os.environ['GIT_TERMINAL_PROMPT'], file=file)\n"
    said += "file.close()\nsys.exit(int(os.environ['PIP_ENDS']))\n"
    (folder / "fake" / "pip" / "__main__.py").write_text(said)
    (folder / "kit" / "alif_kit").mkdir(parents=True)
    (folder / "kit" / "alif_kit" / "__init__.py").touch()
    (folder / "kit" / "alif_kit" / "install.py").write_text("def into_image():\n    print('INTO', __file__)\n")
    return folder


def run_cell(python, cwd, *, pip_ends=0, path=("fake", "kit")):
    cwd.mkdir(parents=True, exist_ok=True)
    cell = front_door.install_cell(front_door.read_address(ROOT))
    says = cwd.parent / "pip.txt"
    environment = {
        **os.environ,
        "PIP_ENDS": str(pip_ends),
        "PIP_SAYS": str(says),
        "PYTHONPATH": os.pathsep.join(str(python / name) for name in path),
    }
    command = [python / "venv" / "bin" / "python", "-c", cell]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    done.stdout += says.read_text() if says.is_file() else ""
    return done


def test_the_cell_is_short_and_defines_nothing():
    cell = front_door.install_cell(front_door.read_address(ROOT))
    assert len(cell.splitlines()) <= 15 and max(map(len, cell.splitlines())) <= 88 and cell.startswith("# @title")
    assert not [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]


def test_without_anything_else_the_tag_of_the_repository_is_fetched_without_asking_for_a_password(python, tmp_path):
    done = run_cell(python, tmp_path / "working")
    assert "PIP install --no-deps git+https://github.com/OWNER/alif_kit@v0.1.0 0" in done.stdout and "INTO" in done.stdout


def test_a_wheel_in_an_attached_data_set_comes_before_it(python, tmp_path):
    wheel = tmp_path / "input" / "my-data" / "alif_kit-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    assert f"--no-deps {wheel} 0" in run_cell(python, tmp_path / "working").stdout


def test_inside_a_checkout_the_checkout_is_used(python, tmp_path):
    kit = tmp_path / "checkout" / "alif_kit"
    shutil.copytree(python / "kit" / "alif_kit", kit)
    (kit / "pins.toml").touch()
    done = run_cell(python, tmp_path / "checkout" / "notebooks", path=("fake",))
    assert f"--no-deps -e {tmp_path / 'checkout'} 0" in done.stdout and f"INTO {kit / 'install.py'}" in done.stdout


def test_when_it_cannot_be_fetched_one_sentence_says_what_to_do(python, tmp_path):
    done = run_cell(python, tmp_path / "working", pip_ends=1)
    assert done.returncode == 1 and "INTO" not in done.stdout
    assert done.stderr.count("\n") == 1 and "switch on Settings, Internet" in done.stderr and "OWNER/alif_kit" in done.stderr


def test_what_is_installed_is_not_fetched_again(python, tmp_path):
    about = tmp_path / "site" / "alif_kit-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: alif-kit\nVersion: 0.1.0\n")
    shutil.copytree(python / "kit" / "alif_kit", tmp_path / "site" / "alif_kit")
    done = run_cell(python, tmp_path / "working", path=("fake", tmp_path / "site"))
    assert "PIP" not in done.stdout and "INTO" in done.stdout
