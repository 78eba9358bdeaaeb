"""Guards on what a lesson is made of: its parts, its links, its checks, and names that are bound before they are used.

Like those of notebook_guards.py, each takes the path of a lesson's .py and returns a sentence per fault.
"""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import Any

from notebook_guards import CLOSING, OPENING, cells, codes

HAVE, COST = "**What you will have:**", "**Time, memory, cost:**"
URDU = re.compile(r'<div dir="rtl" lang="ur"[^>]*>(.*?)</div>', re.DOTALL)
LETTERS = re.compile(r"[\u0621-\u064a\u0671-\u06d3]")
FOREIGN = re.compile(r"[\u064a\u0643\u0647]")  # Arabic yeh, kaf and heh: Urdu has its own
COSTS = {"minutes": r"\bminutes?\b", "GB": r"\bGB\b", "dollars": r"\$\d"}
IN_KERNEL = {"get_ipython", "display", "__name__"}


def opening(source: Path) -> list[str]:
    """The first cell: title, badges, Urdu, what one will have, and what it takes."""
    first, number = cells(source)[0], source.stem[:2]
    text, said = first.source, []
    if first.cell_type != "markdown" or not re.match(rf"# {number} · \S", text):
        said.append(f"the first cell does not begin with `# {number} · ` and a name")
    if not re.search(f"^{OPENING}$.*^{CLOSING}$", text, re.DOTALL | re.MULTILINE) or text.count("badges -->") != 2:
        said.append(f"the first cell has no place for badges, {OPENING} and {CLOSING}")
    urdu = URDU.search(text)
    if not urdu or len(LETTERS.findall(urdu[1])) < 40:
        said.append("the first cell has no Urdu summary")
    elif strange := FOREIGN.findall(urdu[1]):
        said.append(f"the Urdu summary has letters of Arabic: {', '.join(f'U+{ord(c):04X}' for c in sorted(set(strange)))}")
    if not re.search(rf"^{re.escape(HAVE)} \S", text, re.MULTILINE):
        said.append(f"the first cell lacks {HAVE}")
    cost = re.search(rf"^{re.escape(COST)} (.+?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if not cost:
        return [*said, f"the first cell lacks {COST}"]
    return said + [f"{COST} names no {what}" for what, look in COSTS.items() if not re.search(look, cost[1])]


def checked(source: Path) -> list[str]:
    """A section Check with an assert in its first code, and a sentence for every assert."""
    page = cells(source)
    where = [i for i, c in enumerate(page) if c.cell_type == "markdown" and c.source.split("\n")[0] == "## Check"]
    said = [] if len(where) == 1 else [f"{len(where)} cells begin with `## Check`, expected 1"]
    for i in where:
        after = page[i + 1] if i + 1 < len(page) else None
        if after is None or after.cell_type != "code" or not re.search(r"^\s*assert ", after.source, re.MULTILINE):
            said.append("`## Check` is not followed by code with an assert")
    for name, tree in codes(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                said += [f"{name}, line {node.lineno}: {fault}" for fault in _assert_faults(node)]
    return said


def _assert_faults(node: ast.Assert) -> list[str]:
    text = "" if node.msg is None else ast.unparse(node.msg)
    sentence = isinstance(node.msg, ast.JoinedStr | ast.Constant) and len(text.split()) >= 3
    used = any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node.test))
    return ([] if sentence else ["an assert without a sentence"]) + ([] if used else ["an assert that cannot fail"])


def closing(source: Path) -> list[str]:
    """The last cell says what one has now, and links to the next lesson; the last lesson to an earlier one."""
    last, said = cells(source)[-1], []
    if last.cell_type != "markdown" or not last.source.startswith("## What you have now\n"):
        said.append("the last cell does not begin with `## What you have now`")
    course = sorted(path.name for path in source.parent.glob("[0-9][0-9]_*.ipynb"))
    number = course.index(f"{source.stem}.ipynb")
    wanted = course[number + 1 : number + 2] or course[:number]
    if wanted and not any(f"]({name})" in last.source for name in wanted):
        said.append(f"the last cell does not link to {' or '.join(wanted)}")
    return said


def known_names(source: Path) -> list[str]:
    """Every name is bound before it is used, with the cells run in order."""
    names = Names()
    for names.where, tree in codes(source):
        names.visit(tree)
    return names.said


class Names(ast.NodeVisitor):
    """Walks code in the order in which it runs. A name bound in one branch counts as bound after it."""

    def __init__(self) -> None:
        self.scopes: list[set[str]] = [{*dir(builtins), *IN_KERNEL}]
        self.said: list[str] = []
        self.where = ""

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.scopes[-1].add(node.id)
            return
        if not any(node.id in scope for scope in self.scopes):
            self.said.append(f"{self.where}, line {node.lineno}: {node.id} is used before it is bound")
        if isinstance(node.ctx, ast.Del):
            self.scopes[-1].discard(node.id)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.scopes[-1] |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}

    visit_ImportFrom = visit_Import

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self.visit(target)

    visit_AnnAssign = visit_Assign

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):  # read before it is written
            self.visit(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.scopes[0].add(node.target.id)  # also from within a comprehension

    def visit_For(self, node: ast.For) -> None:
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            self.visit(node.type)
        self.scopes[-1] |= {node.name} - {None}
        for part in node.body:
            self.visit(part)
        self.scopes[-1] -= {node.name}  # Python unbinds it

    def visit_ListComp(self, node: Any) -> None:
        self.scopes.append(set())
        for clause in node.generators:
            for part in (clause.iter, clause.target, *clause.ifs):
                self.visit(part)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self.scopes.pop()

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def visit_MatchAs(self, node: Any) -> None:
        self.generic_visit(node)
        self.scopes[-1] |= {node.name} - {None}

    visit_MatchStar = visit_MatchAs
