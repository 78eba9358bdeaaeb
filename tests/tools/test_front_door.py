"""tools/front_door.py: the address stands once; what is made from it is in step; the install cell finds the kit where it should."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("front_door", ROOT / "tools" / "front_door.py")
front_door = importlib.util.module_from_spec(spec)
sys.modules["front_door"] = front_door
spec.loader.exec_module(front_door)


ADDRESS = front_door.Address("OWNER", "alif_kit", "OWNER", "0.1.0")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What depends on the address, in a folder of its own, and published under a name that is not the project's."""
    root = tmp_path_factory.mktemp("published") / "kit"
    for name in ("notebooks", "kaggle"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("runs", ".ipynb_checkpoints", "unsloth*"))
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, root / name)
    (root / "alif_kit").mkdir()
    (root / "alif_kit" / "__init__.py").write_text('__version__ = "7.8.9"\n')
    front_door.publish_as(root, "Some-One/urdu_kit", "some1")
    return root


@pytest.fixture
def copy(published, tmp_path):
    return Path(shutil.copytree(published, tmp_path / "kit"))


def edit(path, before, after):
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def test_the_repository_is_in_step():
    assert front_door.check(ROOT) == []


def texts(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def ids(root):
    return {
        path.stem: [cell["id"] for cell in json.loads(path.read_text("utf-8"))["cells"]] for path in root.glob("notebooks/*.ipynb")
    }


def test_publishing_changes_every_place(copy):
    changed = {path.relative_to(copy).as_posix() for path in front_door.publish_as(copy, "Other/kit", "other1")}
    assert changed == set(texts(copy)) - {"alif_kit/__init__.py"} and len(changed) == 3 + 6 * 3
    for name, text in texts(copy).items():
        assert b"Some-One" not in text and b"some1" not in text and b"urdu_kit" not in text, name
    for path in (*copy.glob("notebooks/*"), copy / "README.md", copy / "CITATION.cff"):
        assert "https://github.com/Other/kit" in path.read_text("utf-8"), path
    assert front_door.check(copy) == []
    kernel = json.loads((copy / "kaggle" / "03_finetune" / "kernel-metadata.json").read_text())
    assert (kernel["id"], kernel["kernel_sources"]) == ("other1/alif-kit-03-finetune", ["other1/alif-kit-02-pretrain"])
    assert front_door.read_address(copy) == front_door.Address("Other", "kit", "other1", "7.8.9")


def test_a_kaggle_user_is_called_like_the_owner_unless_said_otherwise(copy):
    front_door.publish_as(copy, "Other/kit")
    assert front_door.read_address(copy).kaggle == "other"


def test_cells_keep_their_ids(copy):
    assert len(ids(copy)) == 6 and ids(copy) == ids(ROOT)


def test_writing_again_changes_nothing_and_neither_does_make_notebooks(copy):
    before = texts(copy)
    assert front_door.write(copy) == [] and texts(copy) == before
    for source in copy.glob("notebooks/*.py"):
        source.touch()
    command = [sys.executable, "-m", "jupytext", "--quiet", "--sync", *map(str, sorted(copy.glob("notebooks/*.py")))]
    subprocess.run(command, check=True)
    assert texts(copy) == before


BADGES = """\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/Some-One/urdu_kit/blob/main/notebooks/02_pretrain.ipynb) \
[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/Some-One/urdu_kit/main/notebooks/02_pretrain.ipynb) \
[source](https://github.com/Some-One/urdu_kit/blob/main/notebooks/02_pretrain.ipynb)"""


def test_badges_stand_in_the_lesson_and_in_the_readme(copy):
    assert json.loads((copy / "notebooks" / "02_pretrain.ipynb").read_text("utf-8"))["cells"][0]["source"][3] == BADGES + "\n"
    rows = [line for line in (copy / "README.md").read_text("utf-8").splitlines() if line.endswith(f" | {BADGES} |")]
    assert len(rows) == 1 and rows[0].startswith("| [02 · Pretrain") and "](notebooks/02_pretrain.ipynb) | " in rows[0]


KERNEL = "kaggle/03_finetune/kernel-metadata.json"
FAULTS = [
    ("notebooks/01_generate.py", "install.into_image()", "pass", "notebooks/01_generate.py is not what pyproject.toml's address"),
    ("notebooks/01_generate.ipynb", "install.into_image()", "pass", "notebooks/01_generate.ipynb differs from its .py"),
    ("notebooks/02_pretrain.py", "@v7.8.9", "@v7.8.8", "notebooks/02_pretrain.py is not what"),
    ("notebooks/02_pretrain.ipynb", "@v7.8.9", "@v7.8.8", "notebooks/02_pretrain.ipynb differs from its .py"),
    ("notebooks/04_evaluate.py", "[![Open in Kaggle]", "[![Open]", "notebooks/04_evaluate.py is not what"),
    ("notebooks/04_evaluate.ipynb", "[![Open in Kaggle]", "[![Open]", "notebooks/04_evaluate.ipynb differs from its .py"),
    ("README.md", "[![Open in Kaggle]", "[![Open]", "README.md is not what"),
    ("CITATION.cff", "repository-code: https", "repository-code: http", "CITATION.cff is not what"),
    (KERNEL, '"NvidiaTeslaT4"', '"NvidiaTeslaP100"', "machine_shape is 'NvidiaTeslaP100', expected 'NvidiaTeslaT4'"),
    (KERNEL, '"enable_internet": true', '"enable_internet": false', "enable_internet is False, expected True"),
    (KERNEL, '"enable_gpu": true', '"enable_gpu": "true"', "enable_gpu is 'true', expected True"),
    (KERNEL, '"is_private": true', '"is_private": 1', "is_private is 1, expected True"),
    (KERNEL, '  "kernel_type": "notebook",\n', "", "kernel_type is 'missing', expected 'notebook'"),
    (KERNEL, '"language"', '"tongue": "ur",\n"language"', "tongue is no field of it"),
    (KERNEL, "some1/alif-kit-03-finetune", "some1/finetune", "id is 'some1/finetune', expected 'some1/alif-kit-03-finetune'"),
    (KERNEL, "some1/alif-kit-02-pretrain", "OWNER/alif-kit-02-pretrain", "kernel_sources is ['OWNER/alif-kit-02-pretrain']"),
    (KERNEL, "Alif kit 03 finetune", "Finetune", "title is 'Finetune', expected 'Alif kit 03 finetune'"),
    (KERNEL, "03_finetune.ipynb", "03.ipynb", "code_file is '../../notebooks/03.ipynb'"),
    (KERNEL, "{", "", f"{KERNEL.removeprefix('kaggle/')} is no JSON object"),
    ("notebooks/05_release.ipynb", "{", "", "notebooks/05_release.ipynb is no JSON object"),
]


@pytest.mark.parametrize("path, before, after, words", FAULTS, ids=lambda value: str(value)[:20])
def test_what_is_out_of_step_is_said_once(copy, capsys, path, before, after, words):
    edit(copy / path, before, after)
    assert front_door.main(["check"], copy) == 2
    said = capsys.readouterr().err.splitlines()
    assert [words in line for line in said].count(True) == 1, said


@pytest.mark.parametrize(
    "before, after, words",
    [
        ("accelerator: nvidiaTeslaT4", "accelerator: nvidiaTeslaP100", "kaggle is {'accelerator': 'nvidiaTeslaP100'"),
        ("isInternetEnabled: true", "isInternetEnabled: false", "expected {'accelerator': 'nvidiaTeslaT4', 'isGpuEnabled': True"),
        ("gpuType: T4", "gpuType: A100", "colab is {'gpuType': 'A100'}, expected {'gpuType': 'T4'}"),
        ("#   accelerator: GPU\n", "", "accelerator is None, expected 'GPU'"),
    ],
)
def test_a_lesson_that_asks_for_another_machine_is_said(copy, before, after, words):
    edit(copy / "notebooks" / "03_finetune.py", before, after)
    front_door.write(copy)
    (said,) = front_door.check(copy)
    assert said.startswith("notebooks/03_finetune.ipynb: ") and words in said


@pytest.mark.parametrize("path", ["notebooks/01_generate.ipynb", "kaggle/01_generate/kernel-metadata.json"])
def test_what_is_missing_is_said_and_written_again(copy, path):
    (copy / path).unlink()
    (said,) = front_door.check(copy)
    assert "is missing; run `make front-door`" in said
    assert front_door.write(copy) == [copy / path] and front_door.check(copy) == []


def test_metadata_of_a_lesson_that_is_gone_is_said(copy):
    shutil.copytree(copy / "kaggle" / "05_release", copy / "kaggle" / "06_gone")
    assert front_door.check(copy) == ["kaggle/06_gone belongs to no lesson; delete it"]


def test_an_ipynb_edited_by_hand_keeps_its_lesson_and_loses_its_other_install_cell(copy):
    twin = copy / "notebooks" / "01_generate.ipynb"
    edit(twin, "install.into_image()", "pass")
    edit(twin, "## Where are we?", "## Where do we stand?")
    os.utime(twin.with_suffix(".py"), (1_000_000_000, 1_000_000_000))
    front_door.write(copy)
    text = (copy / "notebooks" / "01_generate.py").read_text("utf-8")
    assert "## Where do we stand?" in text and "install.into_image()" in text and front_door.check(copy) == []


@pytest.mark.parametrize(
    "path, before, words",
    [
        ("README.md", "<!-- badges -->", "README.md has no place for badges"),
        ("notebooks/00_quickstart.py", ' tags=["install"]', "has no install cell"),
        ("notebooks/00_quickstart.py", "**Time, memory, cost:**", "lacks its title, **What"),
        ("CITATION.cff", "repository-code: ", "CITATION.cff has 0 lines that begin with `repository-code: `; expected one"),
        ("alif_kit/__init__.py", "__version__", "alif_kit/__init__.py names no version"),
        ("pyproject.toml", "Some-One/", "Repository is https://github.com/urdu_kit; expected https://github.com/OWNER/NAME"),
        ("pyproject.toml", "Repository = ", "expected https://github.com/OWNER/NAME"),
        ("pyproject.toml", "some1", "Kaggle is https://www.kaggle.com/; expected https://www.kaggle.com/USER"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_missing_place_is_refused_and_nothing_is_written(copy, path, before, words, capsys):
    edit(copy / path, before, "x = " if before == "Repository = " else "")
    text = (copy / "pyproject.toml").read_bytes()
    assert front_door.main(["check"], copy) == 2 and words in capsys.readouterr().err
    if path != "pyproject.toml":  # publishing anew mends an address, and nothing else
        assert front_door.main(["publish-as", "a/b"], copy) == 2 and (copy / "pyproject.toml").read_bytes() == text


NO_NAMES = [
    "kit",
    "a/b/c",
    "-a/b",
    "a-/b",
    "a--b/c",
    "a/b c",
    "a/..",
    "a/b.git",
    "a_b/c",
    "https://github.com/a/b",
    "a/b c/d",
    f"{40 * 'a'}/b",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_github_would_not_take_changes_nothing(copy, name, capsys):
    before = texts(copy)
    assert front_door.main(["publish-as", name], copy) == 2 and "expected OWNER/NAME" in capsys.readouterr().err
    assert texts(copy) == before


def test_no_name_prints_how_and_no_kaggle_user_has_capitals(copy, capsys):
    assert front_door.main(["publish-as"], copy) == front_door.main(["publish-as", ""], copy) == 2
    assert capsys.readouterr().err.count("expected `make publish-as OWNER/NAME`, and KAGGLE=USER") == 2
    assert front_door.main(["publish-as", "a/b", "C d"], copy) == 2 and "'C d' is no Kaggle user name" in capsys.readouterr().err


@pytest.fixture
def made(copy):
    """make, in a copy whose .venv is there and whose Python is this one."""
    for name in ("Makefile", "requirements.txt", "tools/front_door.py", "tools/install_cell.txt", "tools/kaggle.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (copy / ".venv" / "bin" / "python").chmod(0o755)
    (copy / ".venv" / "ready").touch()
    return lambda *words: subprocess.run(["make", "--old-file=.venv/ready", *words], cwd=copy, capture_output=True, text=True)


def test_make_takes_the_name_as_its_argument(made, copy):
    done = made("publish-as", "Other/kit", "KAGGLE=other1")
    assert done.returncode == 0 and "notebooks/05_release.ipynb" in done.stdout and done.stderr == ""
    assert front_door.read_address(copy) == front_door.Address("Other", "kit", "other1", "7.8.9")
    assert "agree with https://github.com/Other/kit" in made("kaggle").stdout


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "expected `make publish-as OWNER/NAME`"),
        (["kit"], "'kit' is no GitHub repository"),
        (["https://github.com/a/b"], "'https://github.com/a/b' is no GitHub repository"),
        (["a/b", "c/d"], "'a/b c/d' is no GitHub repository"),
    ],
)
def test_make_refuses_what_is_no_name(made, copy, words, said):
    before = texts(copy)
    done = made("publish-as", *words)
    assert done.returncode == 2 and said in done.stderr and texts(copy) == before


def test_help_names_what_there_is_for_publishing(made):
    said = made("help").stdout
    assert all(f"\n{name} " in said for name in ("front-door", "kaggle", "publish-as", "notebooks"))


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
    (folder / "kit" / "alif_kit" / "platforms").mkdir(parents=True)
    (folder / "kit" / "alif_kit" / "__init__.py").touch()
    (folder / "kit" / "alif_kit" / "platforms" / "install.py").write_text("def into_image():\n    print('INTO', __file__)\n")
    return folder


def run_cell(python, cwd, *, pip_ends=0, path=("fake", "kit")):
    cwd.mkdir(parents=True, exist_ok=True)
    cell = front_door.install_cell(ADDRESS)
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


@pytest.mark.parametrize("name", ["OWNER/alif_kit", "an-organisation/alif-urdu-assistant-kit", f"{25 * 'a'}/{24 * 'b'}"])
def test_the_cell_is_short_and_defines_nothing(name):
    cell = front_door.install_cell(front_door.Address(*name.split("/"), "someone", "0.1.0"))
    assert len(cell.splitlines()) <= 15 and max(map(len, cell.splitlines())) <= 88 and cell.startswith("# @title")
    assert f'KIT = "git+https://github.com/{name}@v0.1.0"' in cell and not re.search(r"""["' (]/[a-z]""", cell)
    assert not [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]


def test_a_name_for_which_the_cell_has_no_room_changes_nothing(copy, capsys):
    before = texts(copy)
    assert front_door.main(["publish-as", f"{25 * 'a'}/{30 * 'b'}"], copy) == 2
    assert "is 6 characters too long for the install cell" in capsys.readouterr().err and texts(copy) == before


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
    done = run_cell(python, tmp_path / "checkout" / "notebooks", path=("fake",))
    assert f"--no-deps -e {tmp_path / 'checkout'} 0" in done.stdout and f"INTO {kit / 'platforms' / 'install.py'}" in done.stdout


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


# ---- and with a real pip ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A fresh Python with its own pip, and a wheel of a kit that only says that it is there."""
    folder = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    with zipfile.ZipFile(folder / "alif_kit-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("alif_kit/__init__.py", "")
        wheel.writestr("alif_kit/platforms/install.py", "def into_image():\n    print('INTO', __file__)\n")
        about = "alif_kit-0.1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: alif-kit\nVersion: 0.1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return folder


def test_a_fresh_python_says_one_sentence_without_a_kit_and_runs_the_kit_of_a_wheel(real, tmp_path):
    nowhere = front_door.install_cell(ADDRESS).replace("https://github.com", f"file://{tmp_path}/nowhere")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    (tmp_path / "working").mkdir()
    command = [real / "venv" / "bin" / "python", "-c", nowhere]

    def ran():
        return subprocess.run(command, cwd=tmp_path / "working", env=environment, capture_output=True, text=True)

    done = ran()
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("alif_kit cannot be fetched: on Kaggle switch on")
    assert done.stderr.count("\n") == 1 and "attach its wheel" in done.stderr and "OWNER/alif_kit@v0.1.0 a published" in done.stderr
    (tmp_path / "input" / "x").mkdir(parents=True)
    shutil.copy(real / "alif_kit-0.1.0-py3-none-any.whl", tmp_path / "input" / "x")
    done = ran()
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"INTO {real / 'venv'}")
    assert ran().stdout == done.stdout  # after a disconnect: nothing to fetch
