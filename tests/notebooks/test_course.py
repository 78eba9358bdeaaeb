"""The course: all six notebooks in order by papermill, sharing one run folder, then each page looked at in a browser."""

import json
from pathlib import Path

import nbformat
import pytest
from conftest import SMALL
from browsers import fonts_of

FOLDER = Path(__file__).parents[2] / "notebooks"
# What each lesson must leave in the run folder, in the order of the course.
LEAVES = {
    "00_quickstart": "report.html",
    "01_generate": "data/hub/train.parquet",
    "02_pretrain": "pretrain/adapter/adapter_config.json",
    "03_finetune": "finetune/adapter/adapter_config.json",
    "04_evaluate": "evaluation/gate.json",
    "05_release": "release/README.md",
}
SIZE = {**SMALL, "pretrain.max_steps": 30, "finetune.max_steps": 20}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The executed notebooks by name, and the run folder that they shared."""
    papermill = pytest.importorskip("papermill")
    place = tmp_path_factory.mktemp("course")
    run, done = place / "urdu-assistant", {}
    for name, leaves in LEAVES.items():
        out = place / f"{name}.ipynb"
        parameters = {"RUN_DIR": str(run), "OVERRIDES": SIZE}
        papermill.execute_notebook(FOLDER / out.name, out, parameters=parameters, cwd=place, progress_bar=False)
        assert (run / leaves).is_file(), f"{name} left no {leaves}"
        done[name] = out
    return done, run


@pytest.mark.slow
def test_the_six_go_on_from_one_another(course):
    done, run = course
    assert list(done) == sorted(path.stem for path in FOLDER.glob("[0-9]*.ipynb"))
    stages = [json.loads(line)["stage"] for line in (run / "ledger.jsonl").open()]
    assert stages[:4] == ["generate", "pretrain", "finetune", "evaluate"] and set(stages[4:]) <= {"evaluate"}
    for name, out in done.items():
        banner = next(o for c in nbformat.read(out, 4).cells for o in c.get("outputs", ()) if "text/html" in o.get("data", {}))
        assert ("goes on from there" in banner["data"]["text/html"]) == (name != "00_quickstart")


@pytest.mark.slow
def test_after_a_disconnect_the_same_notebook_does_nothing_twice(course, tmp_path):
    import papermill

    run = course[1]
    before = (run / "ledger.jsonl").read_bytes(), (run / "finetune" / "metrics.csv").stat().st_mtime_ns
    parameters = {"RUN_DIR": str(run), "OVERRIDES": SIZE, "QUESTION": "آپ کون ہیں؟"}
    papermill.execute_notebook(FOLDER / "00_quickstart.ipynb", tmp_path / "again.ipynb", parameters=parameters, progress_bar=False)
    assert ((run / "ledger.jsonl").read_bytes(), (run / "finetune" / "metrics.csv").stat().st_mtime_ns) == before


@pytest.mark.slow
def test_lesson_01_needs_no_key_where_a_card_would_be(tmp_path):
    papermill = pytest.importorskip("papermill")
    parameters = {"MODE": "t4", "RUN_DIR": str(tmp_path / "run"), "EXAMPLES": 40}
    papermill.execute_notebook(FOLDER / "01_generate.ipynb", tmp_path / "01.ipynb", parameters=parameters, progress_bar=False)
    assert (tmp_path / "run" / "data" / "train.jsonl").is_file()


@pytest.mark.slow
def test_no_page_is_a_wall_of_logs(course):
    for name, out in course[0].items():
        for cell in nbformat.read(out, 4).cells:
            streams = "".join(o["text"] for o in cell.get("outputs", ()) if o["output_type"] == "stream")
            assert streams.count("\n") <= 12 and "Warning" not in streams, f"{name}: {cell.source[:60]}\n{streams[:2000]}"


@pytest.mark.slow
def test_the_pages_are_legible_in_a_browser(course, browser, tmp_path):  # noqa: F811
    from nbconvert import HTMLExporter

    for name, out in course[0].items():
        page = tmp_path / f"{name}.html"
        page.write_text(HTMLExporter().from_filename(str(out))[0], "utf-8")
        tab = browser.new_page(viewport={"width": 1000, "height": 1400})
        tab.goto(page.as_uri())
        urdu = tab.locator(".jp-OutputArea-output [lang=ur]")
        assert urdu.count() > 0 and set(urdu.evaluate_all("all => all.map(e => getComputedStyle(e).direction)")) == {"rtl"}
        drawn = fonts_of(tab, ".jp-OutputArea-output [lang=ur]")
        assert max(drawn, key=drawn.get) == "Noto Nastaliq Urdu", f"{name}: {drawn}; install fonts-noto-core"
        plots = tab.locator(".jp-OutputArea-output svg")
        for i in range(plots.count()):
            box = plots.nth(i).bounding_box()
            assert box["width"] >= 300 and box["height"] >= 20, f"{name}: plot {i} is {box}"
        wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
        tab.close()
