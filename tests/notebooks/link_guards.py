"""Guards on links: those inside the repository lead to a file and a heading, badges to the lesson that they stand in.

Each takes the path of a lesson's .py or of a Markdown page and returns a sentence per fault. What is on the network is not asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from notebook_guards import CLOSING, OPENING, ROOT, cells, front_door

LINK = re.compile(r'(?:\]\(<?|^\[[^\]]+\]: <?|(?:src|href)=")(?![a-z]+:)([^)>"\s{}]+)', re.MULTILINE)
QUOTED = re.compile(r"^ *```.*?^ *```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6} +(.+?)[ #]*$", re.MULTILINE)
NAMED = re.compile(r'<\w+ [^>]*\b(?:id|name)="([^"]+)"')
BADGES = {
    "[![Open in Colab]": "https://colab.research.google.com/github/{repository}/blob/main/{lesson}",
    "[![Open in Kaggle]": (
        "https://www.kaggle.com/notebooks/welcome?src=https://raw.githubusercontent.com/{repository}/main/{lesson}"
    ),
    "[source]": "https://github.com/{repository}/blob/main/{lesson}",
}


def repository() -> str:
    """OWNER/NAME, from the one place where it stands."""
    address = front_door().read_address(ROOT)
    return f"{address.owner}/{address.name}"


def words_of(page: Path) -> str:
    """What is Markdown in a page or lesson."""
    if page.suffix != ".py":
        return page.read_text("utf-8")
    return "\n\n".join(cell.source for cell in cells(page) if cell.cell_type == "markdown")


def linked(page: Path) -> list[str]:
    """Every link to a place of this repository, relative or by its public address, leads to a file and a heading there."""
    top = ROOT if page.is_relative_to(ROOT) else page.parents[1]  # that of a lesson's folder
    text, said = QUOTED.sub("", words_of(page)), []
    for link in LINK.findall(text):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not (target.exists() and target.is_relative_to(top)):
            said.append(f"{page.name} links to {link}, which is not in the repository")
        elif anchor and target.suffix in (".md", ".py") and anchor not in anchors(words_of(target)):
            said.append(f"{page.name} links to {link}, but no heading makes that anchor")
    public = (
        rf"(?:github|githubusercontent|google)\.com/(?:github/)?{re.escape(repository())}/(?:(?:blob|tree|raw)/)?main/([^)\s#?\"]+)"
    )
    named = {place for place in re.findall(public, text) if not (top / place).exists()}
    return said + [f"{page.name} names {place} on GitHub, which is not in the repository" for place in sorted(named)]


def anchors(text: str) -> set[str]:
    """As GitHub makes them from headings, and those that are set by hand."""
    made = set(NAMED.findall(text))
    for heading in HEADING.findall(re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug, again = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"), 1
        name = slug
        while name in made:
            name, again = f"{slug}-{again}", again + 1
        made.add(name)
    return made


def badges(source: Path) -> list[str]:
    """Between the markers: Colab, Kaggle and the source, each of this lesson."""
    inside = re.search(f"{OPENING}(.*?){CLOSING}", cells(source)[0].source, re.DOTALL)
    text = inside[1] if inside else ""
    place = {"repository": repository(), "lesson": f"notebooks/{source.stem}.ipynb"}
    wanted = {name: address.format(**place) for name, address in BADGES.items()}
    return [
        f"the badges have no {name} to {address}"
        for name, address in wanted.items()
        if not re.search(rf"{re.escape(name)}(?:\([^)]*\)\])?\({re.escape(address)}\)", text)
    ]
