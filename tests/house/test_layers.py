"""The house: rooms on floors, imports downwards only, unsloth behind one seam, the data half without torch."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "alif_kit"
FLOORS = (
    {"core"},
    {"teacher", "languages", "platforms"},
    {"synth", "model", "corpus"},
    {"evaluation", "planner", "release", "fitting"},
    {"quantisation", "training", "chat"},
    {"report"},
    {"pipeline"},
    {"notebook", "cli"},
)
HEAVY = {"torch", "unsloth", "transformers", "trl", "peft", "datasets", "matplotlib", "bitsandbytes"}
STANDARD_ONLY = ("__init__.py", "platforms/__init__.py", "platforms/install.py")


def imports(source):
    """(module, whether at top level) of each import in a source; names of a from-import count as modules too."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module] + [f"{node.module}.{a.name}" for a in node.names]
        yield from ((name, node in tree.body) for name in names)


def files():
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def here(path):
    """The room of a file, or the file itself where it lies in the hall."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name):
    return next(n for n, rooms in enumerate(FLOORS) if name in rooms)


def rooms_used(source):
    """The rooms that a source imports from."""
    dotted = [name.split(".") for name, _ in imports(source)]
    return {parts[1] for parts in dotted if parts[0] == "alif_kit" and len(parts) > 1 and (PACKAGE / parts[1]).exists()} | (
        {"pipeline"} if any(parts[:2] == ["alif_kit", "pipeline"] for parts in dotted) else set()
    )


def upward(room, source):
    """The rooms that a file of `room` may not import from and does."""
    return sorted(used for used in rooms_used(source) - {room} if floor(used) >= floor(room))


def test_the_hall_holds_the_map_and_the_pipeline_and_each_room_has_a_floor():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "pipeline.py"}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms | {"pipeline"} == set().union(*FLOORS) and sum(map(len, FLOORS)) == 18


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards_only(path):
    assert upward(here(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "room, source, found",
    [
        ("synth", "from alif_kit.corpus import clean", ["corpus"]),
        ("core", "def f():\n    from alif_kit.languages.text import normalize", ["languages"]),
        ("report", "from alif_kit import pipeline", ["pipeline"]),
        ("cli", "import alif_kit.notebook.display", ["notebook"]),
        ("chat", "from alif_kit.release import gguf\nfrom alif_kit import __version__", []),
    ],
)
def test_an_import_that_climbs_would_be_found(room, source, found):
    assert upward(room, source) == found


def module_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_two_files_import_each_other():
    known = {module_of(path) for path in files() if path.name != "__init__.py"}
    graph = {module_of(path): {name for name, _ in imports(path.read_text("utf-8"))} & known for path in files()}
    graphlib.TopologicalSorter({name: used - {name} for name, used in graph.items()}).prepare()  # raises CycleError


def test_only_the_seam_imports_unsloth():
    users = {module_of(p) for p in files() for name, _ in imports(p.read_text("utf-8")) if name.split(".")[0] == "unsloth"}
    assert users == {"alif_kit.model.unsloth"}


def test_heavy_imports_live_in_functions():
    for path in files():
        top = {name.split(".")[0] for name, top_level in imports(path.read_text("utf-8")) if top_level}
        assert not top & HEAVY, path


def test_what_runs_before_anything_is_installed_asks_for_nothing():
    for name in STANDARD_ONLY:
        top = {used.split(".")[0] for used, top_level in imports((PACKAGE / name).read_text("utf-8")) if top_level}
        assert top <= sys.stdlib_module_names | {"alif_kit"}, name


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def test_every_module_says_what_it_is():
    assert [p.name for p in files() if not docstring(p)] == []


@pytest.mark.parametrize("room", sorted(set().union(*FLOORS) - {"pipeline"}))
def test_each_room_says_what_comes_in_what_goes_out_what_it_writes_and_uses(room):
    said = docstring(PACKAGE / room / "__init__.py")
    assert said.lower().startswith(f"{room}: ") and all(f"{word}: " in said for word in ("In", "Out", "Writes", "Uses"))


@pytest.mark.parametrize("room", sorted(set().union(*FLOORS) - {"pipeline", "cli", "notebook"}))
def test_the_rooms_that_a_room_says_it_uses_are_those_that_it_imports(room):
    said = re.sub(r" \(.*?\)", "", docstring(PACKAGE / room / "__init__.py").replace("\n", " ")).split("Uses: ")[1].split(".")[0]
    used = set().union(*(rooms_used(path.read_text("utf-8")) for path in (PACKAGE / room).rglob("*.py"))) - {room}
    assert used == (set() if said == "no other room" else set(said.split(", ")))


@pytest.mark.parametrize("room", ["", *sorted(set().union(*FLOORS) - {"pipeline"})])
def test_what_a_room_hands_on_is_there_and_is_no_module(room):
    import importlib
    import types

    module = importlib.import_module(f"alif_kit.{room}".rstrip("."))
    look_up = getattr(module, "__getattr__", None)
    places = dict(zip(look_up.__code__.co_freevars, look_up.__closure__, strict=True))["places"].cell_contents if look_up else {}
    for name in places:
        assert not isinstance(look_up(name), types.ModuleType), name
    if look_up:
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018


LATE = ("pydantic", "openai", "numpy", "scipy", "jinja2", "rapidfuzz", "huggingface_hub")


def test_the_command_line_loads_what_a_command_needs_when_it_runs():
    code = f"import sys, alif_kit.cli.main; print([m for m in {LATE} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "unsloth", "transformers", "trl", "peft", "datasets", "bitsandbytes"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
import alif_kit, alif_kit.synth.generate, alif_kit.cli.main, alif_kit.platforms.doctor, alif_kit.report.page
from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.run import Run
run = Run.open(sys.argv[1], config.load("smoke", {"synth.targets": {"qa": 3, "translation": 3}}))
print(pipeline.generate(run))
"""


def test_the_data_half_makes_a_data_set_without_torch(tmp_path):
    result = subprocess.run([sys.executable, "-c", BLOCKED, str(tmp_path / "r")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "r/data/train.jsonl").is_file()
