"""Guards on calls: what the lessons ask of alif_kit, and what alif_kit asks of unsloth, trl and openai, exists.

Each returns a Calls: a sentence per fault, and how many calls could be judged, so that a test can see that it judges any at all.
A callee that ast alone cannot find is left out.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

import signatures
from notebook_guards import codes
from signatures import MISSING, Found

# `unsloth` fills itself when it is imported: these modules do it on a card and on a CPU.
HOMES = {
    "gpu": ("unsloth.models.loader", "unsloth.trainer", "unsloth.chat_templates"),
    "cpu": ("unsloth._cpu_init",),
}
LIBRARIES = ("unsloth", "unsloth_zoo", "trl", "transformers", "openai", "peft")
# What a variable of alif_kit holds, where only running it would tell.
HOLDS = {
    "trainer_class": "unsloth.UnslothTrainer",
    "arguments_class": "unsloth.UnslothTrainingArguments",
    "prepare().FastLanguageModel": "unsloth.FastLanguageModel",
    "self._openai.files": "openai.resources.files.AsyncFiles",
    "self._openai.batches": "openai.resources.batches.AsyncBatches",
    "self.client.chat.completions": "openai.resources.chat.completions.completions.Completions",
    "self._create": "openai.resources.chat.completions.completions.AsyncCompletions.create",
}
# Where a function hands on the keywords that it does not name itself; "": the kit means only those that are named.
HANDS_ON = {"get_peft_model": "peft.LoraConfig", "from_pretrained": "", "BitsAndBytesConfig": ""}


@dataclass
class Calls:
    """What a guard found."""

    said: list[str] = field(default_factory=list)
    judged: int = 0


class Reader:
    """Judges calls and attributes in code, knowing what some names mean."""

    def __init__(self, known: dict[str, Found | None], packages: tuple[str, ...], home: tuple[str, ...] = ()) -> None:
        self.known, self.packages, self.home, self.calls = known, packages, home, Calls()
        self.dicts: dict[str, list[ast.expr]] = {}

    def mean(self, node: ast.expr) -> Found | str | None:
        """What an expression is, or MISSING."""
        if (text := ast.unparse(node)) in self.known:
            return self.known[text]
        if isinstance(node, ast.Attribute):
            owner = self.mean(node.value)
            return self.attribute(owner, node.attr) if isinstance(owner, Found) else None
        if isinstance(node, ast.Call):
            callee = self.mean(node.func)
            return signatures.returned(callee) if isinstance(callee, Found) else None
        return None

    def attribute(self, owner: Found, name: str) -> Found | str | None:
        places = self.home if owner == Found("module", "unsloth") else ()
        found = [signatures.member(Found("module", place), name) for place in places]
        return next((f for f in found if isinstance(f, Found)), None) if places else signatures.member(owner, name)

    def look(self, dotted: str) -> Found | str | None:
        """A dotted name; those of unsloth where it gets them from."""
        top, _, name = dotted.partition(".")
        return self.attribute(Found("module", top), name) if top == "unsloth" and name.isidentifier() else signatures.look(dotted)

    def judge(self, node: ast.AST, where: str) -> None:
        """Everything under a node."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and self.mean(part) == MISSING:
                self.calls.said.append(f"{where}: {ast.unparse(part)} does not exist")
            callee = self.mean(part.func) if isinstance(part, ast.Call) else None
            takes = signatures.takes(callee) if isinstance(callee, Found) and self.ours(callee) else None
            if takes:
                self.calls.judged += 1
                self.calls.said += [f"{where}: {ast.unparse(part.func)} {fault}" for fault in self.faults(part, callee, takes)]

    def ours(self, callee: Found) -> bool:
        return callee.module.split(".")[0] in self.packages

    def faults(self, call: ast.Call, callee: Found, takes: signatures.Takes) -> list[str]:
        named = [name for keyword in call.keywords for name in ([keyword.arg] if keyword.arg else self.keys(keyword.value))]
        allowed, open_end = takes.names, takes.open
        if takes.open and callee.node.name in HANDS_ON:
            other = HANDS_ON[callee.node.name]
            allowed, open_end = allowed | (signatures.takes(signatures.look(other)).names if other else set()), False
        said = [] if open_end else [f"has no parameter {name}" for name in named if name not in allowed]
        starred = any(isinstance(a, ast.Starred) for a in call.args)
        if takes.positional is not None and len(call.args) > takes.positional and not starred:
            said.append(f"takes {takes.positional} positional arguments, not {len(call.args)}")
        whole = not starred and all(keyword.arg for keyword in call.keywords)
        # A dataclass's or function's required names come first, in order.
        missing = [name for name in takes.required[len(call.args) :] if name not in named] if whole else []
        return said + [f"is not given {name}" for name in missing]

    def keys(self, node: ast.expr) -> list[str]:
        """The keys of a dictionary that is passed with **, as far as its literals tell."""
        if isinstance(node, ast.Dict):
            inner = [self.keys(v) for k, v in zip(node.keys, node.values, strict=True) if k is None]
            return [k.value for k in node.keys if isinstance(k, ast.Constant)] + [k for keys in inner for k in keys]
        if isinstance(node, ast.IfExp):
            return self.keys(node.body) + self.keys(node.orelse)
        if isinstance(node, ast.DictComp):
            return self.keys(node.generators[0].iter)
        if isinstance(node, ast.Call):  # a function of the same file, or NAME.items()
            func = node.func
            return self.keys(func.value if isinstance(func, ast.Attribute) else func)
        name = node.id if isinstance(node, ast.Name) else ""
        return [key for value in self.dicts.get(name, ()) for key in self.keys(value)]


def lesson_calls(source: Path) -> Calls:
    """Every call of alif_kit or a library in a lesson passes what it takes; every attribute that is used exists."""
    reader = Reader({}, ("alif_kit", *LIBRARIES), HOMES["gpu"])
    for where, tree in codes(source):
        for statement in tree.body:
            for name, dotted in signatures.imported(statement, "").items():
                found = reader.look(dotted) if dotted.split(".")[0] in reader.packages else None
                if found == MISSING:
                    reader.calls.said.append(f"{where}: {dotted} does not exist")
                reader.known[name] = found if isinstance(found, Found) else None
            values = [statement] if isinstance(statement, ast.Assign) else []
            stored = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            for name in stored - {t.id for a in values for t in a.targets if isinstance(t, ast.Name)}:
                reader.known[name] = None  # of a loop: nothing is known of it
            reader.judge(statement, where)
            for assign in values:
                _bind(reader, assign)
    return reader.calls


def _bind(reader: Reader, assign: ast.Assign) -> None:
    """Remember what a variable holds from here on; a literal dictionary for its keys."""
    for target in assign.targets:
        pairs = [(target, assign.value)]
        if isinstance(target, ast.Tuple) and isinstance(assign.value, ast.Tuple):
            pairs = list(zip(target.elts, assign.value.elts, strict=False))
        for name, value in pairs:
            if isinstance(name, ast.Name):
                found = reader.mean(value)
                reader.known[name.id] = found if isinstance(found, Found) else None
                reader.dicts[name.id] = [value]


def library_calls(path: Path, home: str, text: str = "") -> Calls:
    """Every keyword that a file of alif_kit passes to a library exists there. `text` stands for the file's own."""
    tree, reader = ast.parse(text or path.read_text("utf-8")), Reader({}, LIBRARIES, HOMES[home])
    for node in ast.walk(tree):
        for name, dotted in signatures.imported(node, "").items():
            if dotted.split(".")[0] in LIBRARIES:
                found = reader.look(dotted)
                reader.known[name] = found if isinstance(found, Found) else None
        if isinstance(node, ast.Assign):
            _keep_dict(reader, node)
        if isinstance(node, ast.FunctionDef):
            reader.dicts.setdefault(node.name, []).extend(r.value for r in ast.walk(node) if isinstance(r, ast.Return) and r.value)
    own = {f"self.{node.name}" for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    for name, dotted in HOLDS.items():
        if name in own:  # a method of the file's, not what another file keeps under that name
            continue
        found = reader.look(dotted)
        reader.known[name] = found if isinstance(found, Found) else None
    reader.judge(tree, path.name)
    return reader.calls


def _keep_dict(reader: Reader, node: ast.Assign) -> None:
    """Dictionaries by the name of their variable, and keys that are set afterwards; for the whole file."""
    for target in node.targets:
        if isinstance(target, ast.Name):
            reader.dicts.setdefault(target.id, []).append(node.value)
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and isinstance(target.slice, ast.Constant):
            reader.dicts.setdefault(target.value.id, []).append(ast.Dict([target.slice], [node.value]))
