"""Notebooks: the pair agrees, they define nothing, and they run."""

import ast
from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))


def cells(path, kind):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == kind]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_the_pair_is_in_step(source):
    text, twin = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), 4)
    assert [(c.cell_type, c.source, c.metadata) for c in text.cells] == [(c.cell_type, c.source, c.metadata) for c in twin.cells]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_the_twin_is_clean_and_made_for_a_t4(source):
    twin = nbformat.read(source.with_suffix(".ipynb"), 4)
    assert all(not c.outputs and c.execution_count is None for c in twin.cells if c.cell_type == "code")
    assert len({c.id for c in twin.cells}) == len(twin.cells)
    assert twin.metadata["accelerator"] == "GPU" and twin.metadata["colab"]["gpuType"] == "T4"
    assert twin.metadata["kaggle"]["accelerator"] == "nvidiaTeslaT4"


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_cells_are_short_and_define_nothing(source):
    for cell in cells(source, "code"):
        tree = ast.parse(cell.source)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert len(cell.source.splitlines()) <= 15
    assert (
        max(len(line) for cell in jupytext.read(source).cells for line in cell.source.splitlines() if "colab-badge" not in line)
        <= 88
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_the_parameters_cell_is_tagged(source):
    tagged = [c for c in cells(source, "code") if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1


# What each notebook must leave in its run folder.
LEAVES = {"00_quickstart": "report.html", "01_generate": "data/hub/train.parquet"}
LEAVES |= {
    "04_evaluate": "evaluation/gate.json",
    "05_release": "release/README.md",
    "02_pretrain": "pretrain/adapter/adapter_config.json",
    "03_finetune": "finetune/adapter/adapter_config.json",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_it_runs_from_top_to_bottom(source, tmp_path):
    import papermill
    from conftest import SMALL

    changes = {**SMALL, "pretrain.max_steps": 30, "finetune.max_steps": 20}
    parameters = {"RUN_DIR": str(tmp_path / "run"), "OVERRIDES": changes}
    notebook, out = source.with_suffix(".ipynb"), tmp_path / "out.ipynb"
    papermill.execute_notebook(notebook, out, parameters=parameters, cwd=tmp_path, progress_bar=False)
    assert (tmp_path / "run" / LEAVES[source.stem]).is_file()
