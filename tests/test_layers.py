"""The house: imports go downwards only, unsloth has one seam, the data half runs without torch."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "alif_kit"
FLOORS = (
    {
        "errors",
        "config",
        "records",
        "text",
        "run_folder",
        "progress",
        "pack",
        "pack_check",
        "pack_texts",
        "contamination",
        "held_out",
        "statistics",
        "figures",
        "install",
    },
    {"platform", "limits", "client", "batch", "chat_format", "model", "mirror", "session", "continuation"},
    {"synth", "training", "evaluation", "release"},
    {
        "report",
        "evaluation_report",
        "doctor",
        "notebook",
        "pipeline",
        "quant_engines",
        "quant_measure",
        "quant_study",
        "release_report",
    },
    {"cli", "review_cli", "plan_cli", "synth_cli", "evaluate_cli", "release_cli", "publish_cli", "chat_cli", "pack_cli", "options"},
)
ROOMS = {"synth", "training", "evaluation", "release"}
HEAVY = {"torch", "unsloth", "transformers", "trl", "peft", "datasets", "matplotlib", "bitsandbytes"}


def imports(path):
    """(module, whether at top level) of each import in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module] + [f"{node.module}.{a.name}" for a in node.names]
        yield from ((name, node in tree.body) for name in names)


def room(dotted):
    parts = dotted.split(".")
    return parts[1] if parts[0] == "alif_kit" and len(parts) > 1 else None


def floor(name):
    return next((n for n, rooms in enumerate(FLOORS) if name in rooms), None)


def files():
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def here(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_module_has_a_floor():
    assert {here(path) for path in files()} <= set().union(*FLOORS)


def test_imports_go_downwards_only():
    for path in files():
        mine = floor(here(path))
        for name, _ in imports(path):
            other = room(name)
            if other and floor(other) is not None and other != here(path):
                assert floor(other) < mine or (floor(other) == mine and mine != 2), f"{path.name} imports {name}"


def test_sibling_stages_know_nothing_of_each_other():
    for path in files():
        if here(path) in ROOMS:
            others = {room(name) for name, _ in imports(path)} & ROOMS
            assert others <= {here(path)}, path


def test_only_the_seam_imports_unsloth():
    users = {path.name for path in files() for name, _ in imports(path) if name.split(".")[0] == "unsloth"}
    assert users == {"model.py"}


def test_heavy_imports_live_in_functions():
    for path in files():
        top = {name.split(".")[0] for name, top_level in imports(path) if top_level}
        assert not top & HEAVY, path


def test_every_module_says_what_it_is():
    assert [p.name for p in files() if not ast.get_docstring(ast.parse(p.read_text("utf-8")))] == []


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "unsloth", "transformers", "trl", "peft", "datasets", "bitsandbytes"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
import alif_kit, alif_kit.synth.generate, alif_kit.cli, alif_kit.doctor, alif_kit.report
from alif_kit import config, pipeline
from alif_kit.run_folder import Run
run = Run.open(sys.argv[1], config.load("smoke", {"synth.targets": {"qa": 3, "translation": 3}}))
print(pipeline.make_data(run))
"""


def test_the_data_half_makes_a_data_set_without_torch(tmp_path):
    result = subprocess.run([sys.executable, "-c", BLOCKED, str(tmp_path / "r")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "r/data/train.jsonl").is_file()
