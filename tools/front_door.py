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
INSTALL = Path(__file__).with_name("install_cell.txt")
WIDEST = 88  # columns of a notebook's cell
# GitHub's rules for the two halves of a repository's name.
REPOSITORY = r"([A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38})/(?!\.{1,2}$|.*\.(?:git|wiki)$)([A-Za-z0-9._-]{1,100})"
KAGGLE = json.loads(Path(__file__).with_name("kaggle.json").read_text("utf-8"))
"""Metadata of a notebook's `machine`, and of its `kernel`, as Kaggle wants them for a lesson."""


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
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    repository, kaggle = urls.get("Repository", "missing"), urls.get("Kaggle", "missing")
    found = re.fullmatch(rf"https://github\.com/{REPOSITORY}", repository)
    if not found:
        raise Mistake(f"Repository is {repository}; expected https://github.com/OWNER/NAME in pyproject.toml, [project.urls]")
    user = re.fullmatch(r"https://www\.kaggle\.com/([A-Za-z0-9-]+)", kaggle)
    if not user:
        raise Mistake(f"Kaggle is {kaggle}; expected https://www.kaggle.com/USER in pyproject.toml, [project.urls]")
    version = re.search(r'^__version__ = "(.+)"$', (root / "alif_kit" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if not version:
        raise Mistake('alif_kit/__init__.py names no version; expected a line `__version__ = "0.1.0"`')
    return Address(found[1], found[2], user[1], version[1])


def lessons(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def install_cell(address: Address) -> str:
    """The cell that fetches the kit, from its template; a long address leaves no room for the comment beside it."""
    cell = INSTALL.read_text("utf-8").replace("REPOSITORY", address.repository).replace("VERSION", address.version)
    if max(map(len, cell.splitlines())) > WIDEST:
        cell = cell.replace("  # make publish-as", "")
    if (over := max(map(len, cell.splitlines())) - WIDEST) > 0:
        raise Mistake(f"{address.owner}/{address.name} is {over} characters too long for the install cell; shorten NAME")
    return cell


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
    sources = [f"{address.kaggle}/{slug('Alif kit ' + one.replace('_', ' '))}" for one in before]
    own = {"id": f"{address.kaggle}/{slug(title)}", "title": title, "code_file": f"../../notebooks/{lesson}.ipynb"}
    return {**own, **KAGGLE["kernel"], "kernel_sources": sources}


def outputs(root: Path) -> dict[Path, str]:
    """Every file that depends on the address, with the text it should have."""
    address = read_address(root)
    files = {root / "notebooks" / f"{lesson}.py": notebook(root, address, lesson) for lesson in lessons(root)}
    for lesson in lessons(root):
        metadata = json.dumps(kernel(root, address, lesson), indent=2) + "\n"
        files[root / "kaggle" / lesson / "kernel-metadata.json"] = metadata
    readme, citation = root / "README.md", root / "CITATION.cff"
    files[readme] = between(readme.read_text("utf-8"), "README.md", table(root, address))
    files[citation] = with_line(citation, "repository-code: ", address.repository)
    return files


def with_line(path: Path, opening: str, rest: str) -> str:
    """The text of a file with the one line that begins so ending in `rest`."""
    text, found = re.subn(rf"^{re.escape(opening)}.*$", lambda _: opening + rest, path.read_text("utf-8"), flags=re.MULTILINE)
    if found != 1:
        raise Mistake(f"{path.name} has {found} lines that begin with `{opening}`; expected one")
    return text


def write(root: Path) -> list[Path]:
    """Bring every file into step; returns those that changed."""
    twins = sync(root)  # first, so that what was edited in an .ipynb is kept
    files = outputs(root)
    changed = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], "utf-8")
    return list(dict.fromkeys(changed + twins + sync(root)))


def sync(root: Path) -> list[Path]:
    """Bring pairs that differ into step as `make notebooks` does, by the newer of the two; returns their .ipynb."""
    sources = [root / "notebooks" / f"{lesson}.py" for lesson in lessons(root) if twin_differs(root, lesson)]
    command = [sys.executable, "-m", "jupytext", "--quiet", "--sync", *map(str, sources)]
    if sources and (done := subprocess.run(command, capture_output=True, text=True)).returncode:
        raise Mistake(f"jupytext failed; mend what it says and run this again:\n{done.stderr.strip()}")
    return [source.with_suffix(".ipynb") for source in sources]


def loaded(path: Path) -> dict[str, Any]:
    """A JSON object, from a file of `folder/name`."""
    name = "/".join(path.parts[-2:])
    if not path.is_file():
        raise Mistake(f"{name} is missing; run `make front-door`")
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError):
        raise Mistake(f"{name} is no JSON object; take it from git again") from None


def twin_differs(root: Path, lesson: str) -> str:
    """Whether the .ipynb, which Colab and Kaggle open, says something else than its .py: a sentence, or nothing."""
    import jupytext

    source, twin = (root / "notebooks" / f"{lesson}{ending}" for ending in (".py", ".ipynb"))
    if twin.is_file() and loaded(twin) and jupytext.writes(jupytext.read(twin), "py:percent") == source.read_text("utf-8"):
        return ""
    return f"notebooks/{twin.name} {'differs from its .py' if twin.is_file() else 'is missing'}; run `make front-door`"


def check(root: Path) -> list[str]:
    """What is out of step, a sentence each."""
    said = []
    for path, text in outputs(root).items():
        if path.name != "kernel-metadata.json" and path.read_text("utf-8") != text:
            said.append(f"{path.relative_to(root)} is not what pyproject.toml's address makes of it; run `make front-door`")
    for lesson in lessons(root):
        for one in (check_twin, check_kernel):
            try:
                said += one(root, lesson)
            except Mistake as mistake:
                said.append(str(mistake))
    folders = {path.parent.name for path in root.glob("kaggle/*/kernel-metadata.json")}
    return said + [f"kaggle/{name} belongs to no lesson; delete it" for name in sorted(folders - set(lessons(root)))]


def check_twin(root: Path, lesson: str) -> list[str]:
    """Whether the .ipynb is in step with its .py and asks Colab and Kaggle for the machine that the metadata asks for."""
    differs, asked = twin_differs(root, lesson), loaded(root / "notebooks" / f"{lesson}.ipynb").get("metadata", {})
    return [differs] * bool(differs) + [
        f"notebooks/{lesson}.ipynb: {key} is {asked.get(key)!r}, expected {value!r}; change it in both files of the pair"
        for key, value in KAGGLE["machine"].items()
        if asked.get(key) != value
    ]


def check_kernel(root: Path, lesson: str) -> list[str]:
    """Whether kernel-metadata.json has the fields, of the type and value, that Kaggle needs for this lesson, and no other."""
    name = f"kaggle/{lesson}/kernel-metadata.json"
    found, wanted = loaded(root / name), kernel(root, read_address(root), lesson)
    said = [
        f"{name}: {key} is {found.get(key, 'missing')!r}, expected {value!r}; run `make front-door`"
        for key, value in wanted.items()
        if (type(found.get(key)), found.get(key)) != (type(value), value)
    ]
    return said + [f"{name}: {key} is no field of it; run `make front-door`" for key in sorted(found.keys() - wanted.keys())]


def publish_as(root: Path, repository: str, kaggle: str = "") -> list[Path]:
    """Set the address and bring everything into step. Raises Mistake for a name that GitHub or Kaggle would not take."""
    name = re.fullmatch(REPOSITORY, repository)
    if not name:
        raise Mistake(f"{repository!r} is no GitHub repository; expected OWNER/NAME, for example `make publish-as OWNER/alif_kit`")
    if kaggle and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", kaggle):
        raise Mistake(f"{kaggle!r} is no Kaggle user name; expected small letters, digits and hyphens")
    path = root / "pyproject.toml"
    before = path.read_text("utf-8")
    try:
        path.write_text(with_line(path, 'Repository = "https://github.com/', f'{repository}"'), "utf-8")
        path.write_text(with_line(path, 'Kaggle = "https://www.kaggle.com/', f'{kaggle or name[1].lower()}"'), "utf-8")
        outputs(root)
    except Mistake:
        path.write_text(before, "utf-8")
        raise
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
            case ["publish-as", ""] | ["publish-as"]:
                raise Mistake("no repository was named; expected `make publish-as OWNER/NAME`, and KAGGLE=USER where that differs")
            case ["publish-as", repository, *kaggle] if len(kaggle) < 2:
                print(*(path.relative_to(root) for path in publish_as(root, repository, *kaggle)), sep="\n")
            case _:
                print(__doc__)
                return 0 if arguments in (["--help"], []) else 2
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is not in this Python; expected the kit's own: run `make setup`, then .venv/bin/python", file=sys.stderr
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
