"""What an installed package offers, read from its source by ast: nothing is imported, so torch is not needed.

`Source.look("trl.SFTConfig")` follows imports to a definition; `member` goes to attributes; `takes` is what a call may pass.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
MISSING = "missing"


@dataclass(frozen=True)
class Found:
    """What a name means: a module (no node), a function, a class, or an instance of a class."""

    kind: str
    module: str
    node: Definition | None = None
    method: bool = False


@dataclass
class Takes:
    """Keywords by name, how many may be positional (None: any), those without a default, and whether any other keyword goes."""

    names: set[str] = field(default_factory=set)
    positional: int | None = 0
    required: list[str] = field(default_factory=list)
    open: bool = False


@cache
def path_of(module: str) -> Path | None:
    """The file of a dotted module, found without importing it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top) if top else None
    if spec is None or not spec.origin:
        return None
    place = Path(spec.origin)
    place = place.parent if place.name == "__init__.py" else place.with_suffix("")
    place = place.joinpath(*rest)
    return next((p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()), None)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text("utf-8"))


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module or class, also under if, try and with."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            handlers = [s for handler in getattr(node, "handlers", ()) for s in handler.body]
            yield from statements([*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ()), *handlers])


def imported(node: ast.stmt, module: str) -> dict[str, str]:
    """Names that an import binds, each with the dotted name it means."""
    if isinstance(node, ast.Import):
        return {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
    if not isinstance(node, ast.ImportFrom):
        return {}
    package = module if path_of(module) and path_of(module).name == "__init__.py" else module.rpartition(".")[0]
    above = package.rsplit(".", node.level - 1)[0] if node.level else ""
    source = ".".join(part for part in (above, node.module) if part)
    return {a.asname or a.name: f"{source}.{a.name}" for a in node.names}


def handed_on(call: ast.Call) -> Iterator[tuple[str, str]]:
    """Names that a room of the kit hands on, and where under it each one stands; those that are written out."""
    for keyword in call.keywords:
        if keyword.arg and isinstance(keyword.value, ast.Constant):
            place, _, other = keyword.value.value.partition(":")
            yield keyword.arg, f"{place}.{other or keyword.arg}"


@cache
def names_of(module: str) -> dict[str, list[ast.AST | str]]:
    """Each name of a module: its definitions, or the dotted names it is imported from, in the order of the file."""
    names: dict[str, list[ast.AST | str]] = {}
    for node in statements(tree_of(module).body):
        if isinstance(node, Definition):
            names.setdefault(node.name, []).append(node)
        for name, dotted in imported(node, module).items():
            names.setdefault(name, []).append(dotted)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "hands_on":
            names |= {name: [f"{module}.{place}"] for name, place in handed_on(node.value)}
            continue
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            for part in ast.walk(target) if target else ():
                if isinstance(part, ast.Name):
                    names.setdefault(part.id, []).append(node)
    return names


def look(dotted: str) -> Found | str | None:
    """The definition behind a dotted name; MISSING when its module lacks it, None when ast alone cannot tell."""
    if path_of(dotted.split(".")[0]) is None:
        return None
    if path_of(dotted):
        return Found("module", dotted)
    module, _, name = dotted.rpartition(".")
    owner = look(module) if module else None
    return member(owner, name) if isinstance(owner, Found) else owner


def member(owner: Found, name: str) -> Found | str | None:
    """An attribute of a module, class or instance."""
    if owner.kind == "module":
        return _of_module(owner.module, name)
    if owner.kind == "function" or owner.node is None:
        return None
    return _of_class(owner, name)


def _of_module(module: str, name: str) -> Found | str | None:
    names, seen = names_of(module), None
    for what in names.get(name, ()):
        if isinstance(what, str):
            seen = look(what) if what != f"{module}.{name}" else None
        elif isinstance(what, Definition):
            seen = Found("class" if isinstance(what, ast.ClassDef) else "function", module, what)
        elif isinstance(what, ast.AnnAssign):
            seen = instance(what.annotation, module)
        if isinstance(seen, Found):
            return seen
    if path_of(f"{module}.{name}"):
        return Found("module", f"{module}.{name}")
    hidden = "*" in names or "__getattr__" in names or name in names or name.startswith("__")
    return None if hidden else MISSING


def _of_class(owner: Found, name: str) -> Found | str | None:
    for node in reversed(list(statements(owner.node.body))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            marks = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
            if marks & {"property", "cached_property"}:
                return instance(node.returns, owner.module)
            return Found("function", owner.module, node, method="staticmethod" not in marks)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return instance(node.annotation, owner.module)
        if isinstance(node, ast.Assign) and name in [ast.unparse(t) for t in node.targets]:
            return None
    own = [n for n in ast.walk(owner.node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    if name in {n.attr for n in own} or name.startswith("__"):
        return None
    parents = bases(owner)
    found = [member(parent, name) if isinstance(parent, Found) else None for parent in parents]
    return next((f for f in found if f != MISSING), MISSING)


def bases(owner: Found) -> list[Found | str | None]:
    return [_expression(base, owner.module) for base in owner.node.bases if ast.unparse(base) not in ("object", "Protocol")]


def _expression(node: ast.expr, module: str) -> Found | str | None:
    """A name, or a dotted one, as a module understands it."""
    if isinstance(node, ast.Name):
        return _of_module(module, node.id)
    if isinstance(node, ast.Attribute):
        owner = _expression(node.value, module)
        return member(owner, node.attr) if isinstance(owner, Found) else None
    return None


def instance(annotation: ast.expr | None, module: str) -> Found | None:
    """What has this annotation, where that is a class (or a class or None)."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp) and ast.unparse(annotation.right) == "None":
        annotation = annotation.left
    found = _expression(annotation, module) if annotation is not None else None
    known = isinstance(found, Found) and found.kind == "class" and found.module != "typing"  # where Any is a class
    return Found("instance", found.module, found.node) if known else None


def returned(function: Found) -> Found | None:
    """What a call gives back."""
    if function.kind == "class":
        return Found("instance", function.module, function.node)
    return instance(function.node.returns, function.module) if function.kind == "function" else None


def takes(callee: Found) -> Takes | None:
    """What a function or a class's constructor may be passed; None when ast alone cannot tell."""
    if callee.kind == "function":
        return _wrapped(callee) or _signature(callee)
    if callee.kind != "class":
        return None
    init = next((n for n in reversed(callee.node.body) if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    own = _signature(Found("function", callee.module, init, True)) if init else _fields(callee)
    if own and not (own.open and _hands_up(init)):
        return own
    parents = [takes(parent) if isinstance(parent, Found) else None for parent in bases(callee)]
    if not parents:
        return own or Takes()
    if None in parents:
        return None
    names = (own.names if own else set()).union(*(parent.names for parent in parents))
    return Takes(names, None, own.required if own else [], any(parent.open for parent in parents))


def _hands_up(init: ast.FunctionDef | None) -> bool:
    """Whether the keywords that an __init__ does not name go to that of the parents; else they are for itself."""
    calls = [n for n in ast.walk(init) if isinstance(n, ast.Call) and ast.unparse(n.func) == "super().__init__"] if init else []
    return init is None or any(ast.unparse(k.value) == init.args.kwarg.arg for call in calls for k in call.keywords if not k.arg)


def _wrapped(callee: Found) -> Takes | None:
    """Of a function that hands everything on under functools.wraps, what the other takes."""
    for mark in callee.node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("wraps"):
            other = _expression(mark.args[0], callee.module)
            return takes(other) if isinstance(other, Found) else None
    return None


def _signature(callee: Found) -> Takes:
    args = callee.node.args
    places = [*args.posonlyargs, *args.args][callee.method :]
    needed = places[: len(places) - len(args.defaults)]
    needed += [a for a, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    names = {a.arg for a in (*places, *args.kwonlyargs)} - {a.arg for a in args.posonlyargs}
    return Takes(names, None if args.vararg else len(places), [a.arg for a in needed], bool(args.kwarg))


def _fields(callee: Found) -> Takes | None:
    """Of a dataclass without an __init__ of its own."""
    if not any("dataclass" in ast.unparse(mark) for mark in callee.node.decorator_list):
        return None
    parents = [takes(parent) if isinstance(parent, Found) else None for parent in bases(callee)]
    if None in parents:
        return None
    own = [n for n in callee.node.body if isinstance(n, ast.AnnAssign) and not ast.unparse(n.annotation).startswith("ClassVar")]
    own = [n for n in own if not (n.value and "init=False" in ast.unparse(n.value))]
    names = {ast.unparse(n.target) for n in own}.union(*(parent.names for parent in parents))
    needed = [
        ast.unparse(n.target)
        for n in own
        if n.value is None or ("field(" in ast.unparse(n.value) and "default" not in ast.unparse(n.value))
    ]
    return Takes(names, len(names), needed, any(parent.open for parent in parents))
