"""Writes everything that depends on the repository's public address, which stands once: in pyproject.toml, [project.urls].

    python tools/front_door.py write                      after a change of address, version, title or notebook
    python tools/front_door.py check                      says what is out of step; exit code 2
    python tools/front_door.py publish-as OWNER/NAME [KAGGLE_USER]

It writes: the install cell and the badges of each notebook (and its .ipynb twin, through jupytext), the README's table of lessons,
kaggle/<lesson>/kernel-metadata.json, and the address in CITATION.cff.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OPENING, CLOSING = "<!-- badges -->", "<!-- /badges -->"
INSTALL = """\
# @title Install: about a minute; run it again after a disconnect
import importlib.metadata, os, pathlib, subprocess, sys
KIT = "git+{repository}@v{version}"  # make publish-as
os.environ["GIT_TERMINAL_PROMPT"], here = "0", pathlib.Path.cwd()
checkout = [p for p in (here, *here.parents) if (p / "alif_kit/pins.toml").is_file()]
sys.path[:0] = map(str, checkout[:1])  # inside a checkout, the checkout
wheels = here.parent.glob("input/**/alif_kit-*.whl")  # of an attached Kaggle data set
source = [["-e", str(p)] for p in checkout] + [[str(p)] for p in wheels] + [[KIT]]
pip = [sys.executable, "-m", "pip", "install", "--no-deps", *source[0]]
there = any(importlib.metadata.distributions(name="alif-kit"))
if not there and subprocess.run(pip, capture_output=True).returncode:
    say = "alif_kit cannot be fetched: on Kaggle switch on Settings, Internet, or"
    sys.exit(f"{{say}} attach its wheel; elsewhere, is {{KIT}} a published repository?")
from alif_kit import install
install.into_image()
"""


class Mistake(Exception):
    """One sentence: what was found, what was expected, what to change."""


@dataclass(frozen=True)
class Address:
    """Where the repository is, who publishes its notebooks on Kaggle, and which version a notebook installs."""

    owner: str
    name: str
    kaggle: str
    version: str

    @property
    def repository(self) -> str:
        return f"https://github.com/{self.owner}/{self.name}"


def read_address(root: Path) -> Address:
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", urls["Repository"])
    if not found:
        raise Mistake(f"Repository is {urls['Repository']}; expected https://github.com/OWNER/NAME in pyproject.toml")
    version = re.search(r'^__version__ = "(.+)"$', (root / "alif_kit" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    return Address(found[1], found[2], urls["Kaggle"].rsplit("/", 1)[-1], version[1])


def lessons(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def install_cell(address: Address) -> str:
    return INSTALL.format(repository=address.repository, version=address.version)


def badges(address: Address, lesson: str) -> str:
    """Colab, Kaggle and the source, as one line of Markdown."""
    path = f"{address.owner}/{address.name}/blob/main/notebooks/{lesson}.ipynb"
    welcome = "https://www.kaggle.com/notebooks/welcome?src="
    raw = f"https://raw.githubusercontent.com/{address.owner}/{address.name}/main/notebooks/{lesson}.ipynb"
    colab = f"https://colab.research.google.com/github/{path}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({welcome}{raw}) "
        f"[source](https://github.com/{path})"
    )


def between(text: str, where: str, inside: str, prefix: str = "") -> str:
    """The text with what stands between its badge markers replaced."""
    if text.count(prefix + OPENING) != 1 or text.count(prefix + CLOSING) != 1:
        raise Mistake(f"{where} has no place for badges; expected one {OPENING} and one {CLOSING}, each on a line of its own")
    head, rest = text.split(prefix + OPENING)
    lines = "".join(f"{prefix}{line}\n" for line in inside.splitlines())
    return f"{head}{prefix}{OPENING}\n{lines}{prefix}{CLOSING}{rest.split(prefix + CLOSING)[1]}"


INSTALL_PLACE = re.compile(r'(# %% tags=\["install"\]\n).*?(?=\n# %%)', re.DOTALL)


def notebook(root: Path, address: Address, lesson: str) -> str:
    """A lesson's .py with its install cell and badges."""
    text = (root / "notebooks" / f"{lesson}.py").read_text("utf-8")
    if len(INSTALL_PLACE.findall(text)) != 1:
        raise Mistake(f'notebooks/{lesson}.py has no install cell; expected one cell `# %% tags=["install"]`')
    text = INSTALL_PLACE.sub(lambda found: found[1] + install_cell(address), text)
    return between(text, f"notebooks/{lesson}.py", badges(address, lesson), "# ")


def described(root: Path, lesson: str) -> tuple[str, str, str]:
    """A lesson's title, what one will have, and its cost, from its first cell."""
    cell = (root / "notebooks" / f"{lesson}.py").read_text("utf-8").split("# %% [markdown]\n")[1].split("\n# %%")[0]
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in cell.splitlines())
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    parts = [
        re.search(rf"\*\*{name}:\*\* (.+?)\n\n", text + "\n\n", re.DOTALL) for name in ("What you will have", "Time, memory, cost")
    ]
    if not title or not all(parts):
        raise Mistake(
            f"notebooks/{lesson}.py lacks its title, **What you will have:** or **Time, memory, cost:** in its first cell"
        )
    have, cost = (" ".join(part[1].split()) for part in parts)
    return title[1], have, cost


def table(root: Path, address: Address) -> str:
    """The README's table of lessons."""
    rows = ["| lesson | what you will have | time, memory, cost | open |", "|---|---|---|---|"]
    for lesson in lessons(root):
        title, have, cost = described(root, lesson)
        cost = cost.split(". ")[0].rstrip(".")  # the rest stands in the lesson
        rows.append(f"| [{title}](notebooks/{lesson}.ipynb) | {have} | {cost} | {badges(address, lesson)} |")
    return "\n".join(rows)


def slug(title: str) -> str:
    """Kaggle's rule from title to address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def kernel(root: Path, address: Address, lesson: str) -> dict[str, Any]:
    """kernel-metadata.json of a lesson: a T4, the network, and the output of the lesson before it."""
    title, course = f"Alif kit {lesson.replace('_', ' ')}", lessons(root)
    before = course[: course.index(lesson)][-1:] if lesson > "02" else []
    return {
        "id": f"{address.kaggle}/{slug(title)}",
        "title": title,
        "code_file": f"../../notebooks/{lesson}.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": True,
        "machine_shape": "NvidiaTeslaT4",
        "dataset_sources": [],
        "competition_sources": [],
        "kernel_sources": [f"{address.kaggle}/{slug('Alif kit ' + one.replace('_', ' '))}" for one in before],
        "model_sources": [],
    }


def outputs(root: Path) -> dict[Path, str]:
    """Every file that depends on the address, with the text it should have."""
    address = read_address(root)
    files = {root / "notebooks" / f"{lesson}.py": notebook(root, address, lesson) for lesson in lessons(root)}
    for lesson in lessons(root):
        metadata = json.dumps(kernel(root, address, lesson), indent=2) + "\n"
        files[root / "kaggle" / lesson / "kernel-metadata.json"] = metadata
    readme, citation = root / "README.md", root / "CITATION.cff"
    files[readme] = between(readme.read_text("utf-8"), "README.md", table(root, address))
    files[citation] = re.sub(
        r"^repository-code: .*$", f"repository-code: {address.repository}", citation.read_text("utf-8"), flags=re.MULTILINE
    )
    return files


def write(root: Path) -> list[Path]:
    """Bring every file into step; returns those that changed."""
    changed = [path for path, text in outputs(root).items() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in outputs(root).items():
        if path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if sources := [path for path in changed if path.suffix == ".py"]:
        subprocess.run([sys.executable, "-m", "jupytext", "--quiet", "--sync", *map(str, sources)], check=True)
    return changed


def check(root: Path) -> list[str]:
    """What is out of step, a sentence each."""
    said = []
    for path, text in outputs(root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            said.append(f"{path.relative_to(root)} is not what pyproject.toml's address makes of it; run `make front-door`")
    for lesson in lessons(root):
        said += check_kernel(root, lesson)
    return said


def check_kernel(root: Path, lesson: str) -> list[str]:
    """Whether Kaggle would take the metadata, and whether notebook and metadata ask for the same machine."""
    path = root / "kaggle" / lesson / "kernel-metadata.json"
    if not path.is_file():
        return [f"kaggle/{lesson}/kernel-metadata.json is missing; run `make front-door`"]
    found, said, name = json.loads(path.read_text("utf-8")), [], f"kaggle/{lesson}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+/[a-z0-9-]+", found.get("id", "")) or found["id"].split("/")[1] != slug(found["title"]):
        said.append(f"{name}: id {found.get('id')!r} is not USER/ and the title's slug {slug(found['title'])!r}")
    code = (path.parent / found["code_file"]).resolve()
    if not code.is_file():
        return [*said, f"{name}: code_file {found['code_file']} is not there"]
    wants = json.loads(code.read_text("utf-8"))["metadata"].get("kaggle", {})
    pairs = {
        "enable_gpu": (found["enable_gpu"], wants.get("isGpuEnabled")),
        "enable_internet": (found["enable_internet"], wants.get("isInternetEnabled")),
        "machine_shape": (found["machine_shape"].lower(), wants.get("accelerator", "").lower()),
    }
    return said + [f"{name}: {key} is {mine!r}, the notebook says {its!r}" for key, (mine, its) in pairs.items() if mine != its]


OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}"


def publish_as(root: Path, repository: str, kaggle: str = "") -> list[Path]:
    """Set the address and bring everything into step. Raises Mistake for a name that GitHub or Kaggle would not take."""
    owner, _, name = repository.partition("/")
    if not re.fullmatch(OWNER, owner) or not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) or name in (".", ".."):
        raise Mistake(f"{repository!r} is no GitHub repository; expected OWNER/NAME, for example `make publish-as OWNER/alif_kit`")
    if kaggle and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", kaggle):
        raise Mistake(f"{kaggle!r} is no Kaggle user name; expected small letters, digits and hyphens")
    path = root / "pyproject.toml"
    text = re.sub(
        r'^Repository = ".*"$', f'Repository = "https://github.com/{repository}"', path.read_text("utf-8"), flags=re.MULTILINE
    )
    user = kaggle or owner.lower()
    path.write_text(re.sub(r'^Kaggle = ".*"$', f'Kaggle = "https://www.kaggle.com/{user}"', text, flags=re.MULTILINE), "utf-8")
    return [path, *write(root)]


def main(arguments: list[str], root: Path = ROOT) -> int:
    try:
        match arguments:
            case ["write"]:
                print(*(path.relative_to(root) for path in write(root)), sep="\n")
            case ["check"]:
                if said := check(root):
                    raise Mistake("\n".join(said))
                print(f"{len(lessons(root))} lessons and their Kaggle metadata agree with {read_address(root).repository}")
            case ["publish-as", repository, *kaggle] if len(kaggle) < 2:
                print(*(path.relative_to(root) for path in publish_as(root, repository, *kaggle)), sep="\n")
            case ["publish-as"]:
                raise Mistake("no repository was named; expected `make publish-as OWNER/NAME`, and KAGGLE=USER where that differs")
            case _:
                print(__doc__)
                return 0 if arguments in (["--help"], []) else 2
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
