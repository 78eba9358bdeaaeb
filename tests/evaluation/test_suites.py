"""Evaluation as a whole: resumed, made anew when something changed, over endpoints and folders, judged by the gate, seen on the command line."""

import json
import shutil

import pytest
from conftest import completion

from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import read_jsonl, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.evaluation import subjects, suites
from alif_kit.evaluation.subjects import Subject
from alif_kit.model import without_hub
from alif_kit.report import evaluation

SMALL = {"evaluation.max_examples": 3, "evaluation.max_new_tokens": 6, "evaluation.batch_size": 2}


@pytest.fixture(scope="module")
def tiny():
    return without_hub.resolve("tiny", "ur", 3407)


def make_run(tmp_path, **changes):
    return Run.open(tmp_path / "run", config.load("smoke", {**SMALL, **changes}))


def rows(run, subject, name):
    return list(read_jsonl(run.file("evaluation", subject, f"{name}.jsonl")))


def test_a_model_against_itself_shows_no_difference(tmp_path, tiny):
    run = make_run(tmp_path)
    results = pipeline.compare(run, tiny)
    assert [s["name"] for s in results["subjects"]] == ["base", "model"]
    differences = {m["key"]: m["paired"]["model"]["difference"] for m in results["measures"] if m["paired"]}
    assert set(differences.values()) == {0.0} and len(differences) > 10
    gate = json.loads(run.file("evaluation", "gate.json").read_text())
    assert gate["verdict"] == "undecided" and all(f["verdict"] != "fail" for f in gate["findings"])


def test_what_was_asked_is_not_asked_again_and_what_changed_is(tmp_path, tiny, monkeypatch):
    run = make_run(tmp_path)
    subject = [Subject("base", "tiny", lambda: tiny)]
    first = suites.evaluate(run, subject)
    monkeypatch.setattr(subjects.Respondent, "loaded", property(lambda self: pytest.fail("loaded again")))
    assert suites.evaluate(run, subject) == first
    assert [line["stage"] for line in run.ledger()] == ["evaluate"]
    monkeypatch.undo()
    more = Run.open(run.path, config.load("smoke", {**SMALL, "evaluation.max_examples": 4}))
    suites.evaluate(more, subject)
    assert len(rows(more, "base", "yes_no")) == 4


def test_a_killed_set_goes_on_after_its_last_row(tmp_path, tiny, monkeypatch):
    run, asked = make_run(tmp_path), []
    monkeypatch.setattr(suites, "ROUND", 1)
    true = subjects.Respondent.answer

    def dies(self, items, on_done=lambda count: None):
        asked.extend((i.set, i.id) for i in items)
        if len([a for a in asked if a[0] == "yes_no"]) == 3:
            raise KeyboardInterrupt
        return true(self, items, on_done)

    monkeypatch.setattr(subjects.Respondent, "answer", dies)
    with pytest.raises(KeyboardInterrupt):
        suites.evaluate(run, [Subject("base", "tiny", lambda: tiny)])
    before = list(asked)
    monkeypatch.setattr(
        subjects.Respondent, "answer", lambda *a, **k: (asked.extend((i.set, i.id) for i in a[1]), true(*a, **k))[1]
    )
    suites.evaluate(run, [Subject("base", "tiny", lambda: tiny)])
    again = asked[len(before) :]
    assert [a for a in again if a in before] == [before[-1]]  # only the one that was under way
    assert len(rows(run, "base", "yes_no")) == 3 and not list(run.path.rglob("*.partial*"))


def test_a_set_killed_twice_before_its_first_row_has_no_row_too_many(tmp_path):
    partial = tmp_path / "knowledge.partial.jsonl"
    for _ in range(2):
        write_jsonl(partial, [{"id": "", "fingerprint": "mark"}])
        assert suites._kept(partial, "mark") == {} and not partial.exists()
    write_jsonl(partial, [{"id": "", "fingerprint": "mark"}, {"id": "a", "scores": {}}])
    assert suites._kept(partial, "mark") == {"a": {"id": "a", "scores": {}}}


def test_other_weights_of_the_same_name_are_measured_anew(tmp_path, tiny):
    copy = tmp_path / "model"
    shutil.copytree(tiny, copy)
    first = Subject("model", str(copy), lambda: str(copy)).identity()
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert Subject("model", str(copy), lambda: str(copy)).identity() != first


def test_an_endpoint_is_asked_in_the_same_words_and_has_no_likelihoods(tmp_path, endpoint, tiny):
    endpoint.queue += [(200, {}, completion("جواب: ہاں", finish="stop" if n % 2 else "length")) for n in range(60)]
    run = make_run(tmp_path)
    results = pipeline.compare(run, f"{endpoint.base_url}#served")
    asked = {r["body"]["messages"][0]["content"] for r in endpoint.requests}
    assert {r["body"]["model"] for r in endpoint.requests} == {"served"} and {
        r["body"]["temperature"] for r in endpoint.requests
    } == {0.0}
    assert {row["prompt"] for row in rows(run, "model", "yes_no")} <= asked
    assert {row["stopped"] for row in rows(run, "model", "behaviour")} <= {True, False}
    assert "is an endpoint" in results["missing"]["documents_ur"]
    assert "Authorization" not in str([r["headers"] for r in endpoint.requests]).replace("Bearer none", "").replace(
        "Authorization': ''", ""
    )


def test_an_endpoint_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="names no model; expected the address, then #"):
        pipeline.compare(make_run(tmp_path), "http://127.0.0.1:1/v1")


def test_public_tasks_that_cannot_be_had_are_missing_not_hidden(tmp_path, tiny, monkeypatch):
    from alif_kit.evaluation import harness

    def offline(*_, **__):
        raise UserError("lm-eval cannot run arc_easy (offline)")

    monkeypatch.setattr(harness, "run_tasks", offline)
    monkeypatch.setattr(harness, "task_list", lambda name: {"arc_easy": {"metric": "acc"}})
    monkeypatch.setattr(suites, "gather", lambda run: ([w for w in suites_gather(run)[0] if "list" in w.task], {}))
    results = suites.evaluate(make_run(tmp_path, **{"evaluation.also": ("retention",)}), [Subject("base", "tiny", lambda: tiny)])
    assert results["missing"] == {"arc_easy": "lm-eval cannot run arc_easy (offline)"}


suites_gather = suites.gather


# The command line


def run_cli(*arguments):
    from typer.testing import CliRunner

    return CliRunner().invoke(main.app, list(map(str, arguments)))


def test_the_finished_run_has_a_table_and_a_verdict(finished):
    result = run_cli("evaluate", "--run", finished.path)
    assert result.exit_code == 0, result.output
    assert "Urdu bits per byte" in result.output and "gate: " in result.output


def test_the_gate_has_an_exit_code(finished, tmp_path):
    verdict = json.loads(finished.file("evaluation/gate.json").read_text())["verdict"]
    copy = shutil.copytree(finished.path, tmp_path / "copy")  # another margin is written into the run
    result = run_cli("gate", "--run", copy)
    assert result.exit_code == {"pass": 0, "fail": 1, "undecided": 3}[verdict] and verdict != "pass"
    assert len([line for line in result.output.splitlines() if line.startswith("  ")]) >= 1
    loose = run_cli("gate", "--run", copy, "--set", "gate.retention=1.0", "--json")
    assert loose.exit_code == 3 and json.loads(loose.output)["verdict"] == "undecided"


def test_a_model_needs_its_base(tmp_path):
    result = run_cli("evaluate", "--run", tmp_path / "r", "--preset", "smoke", "--model", "some/model")
    assert isinstance(result.exception, UserError) and "say which base to compare with: --against BASE" in str(result.exception)


def test_the_report_shows_intervals_differences_and_both_directions(finished):
    results = evaluation.results_of(finished)
    table = {r["key"]: r for r in evaluation.comparison(results)}
    assert " to " in table["bits_per_byte_ur"]["intervals"][0] and table["bits_per_byte_ur"]["better"] is True
    assert table["bits_per_byte_en"]["n"] == 7
    page = finished.file("report.html").read_text()
    assert "95 % intervals" in page and "published" in page and "measured here" in page
    assert "The gate: " in page


def test_the_examples_that_differ_most_come_first_in_both_directions(tmp_path):
    run = make_run(tmp_path)
    base = [
        {"id": str(n), "set": "yes_no", "group": "", "prompt": f"سوال {n}", "expected": "yes", "answer": "ہاں", "parsed": True}
        for n in range(3)
    ]
    scores = [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    for name, side in (("base", 0), ("model", 1)):
        write_jsonl(
            run.file("evaluation", name, "yes_no.jsonl"),
            [{**r, "scores": {"accuracy": s[side]}} for r, s in zip(base, scores, strict=True)],
        )
    write_json(run.file("evaluation", "results.json"), {"subjects": [{"name": "base"}, {"name": "model"}]})
    found = evaluation.differing(run, 5)
    assert [r["id"] for r in found["better"]] == ["0"] and [r["id"] for r in found["worse"]] == ["1"]


def test_published_numbers_stand_apart_from_ours(finished):
    tables = evaluation.beside_published(evaluation.results_of(finished))
    urdu = next(t for t in tables if t["title"].startswith("UrduMMLU"))
    assert [name for name, _ in urdu["ours"]] == ["tiny", "tiny + pretrain/adapter", "tiny + finetune/adapter"]
    assert dict(urdu["theirs"])["Alif-1.0-8B-Instruct"] == ["34.72", "32.68", "3,319"]


@pytest.mark.parametrize("model", ["nowhere", "./here/adapter", "/no/such/model", "a/b/c"])
def test_a_model_that_is_not_there_is_refused_before_the_base_is_measured(model):
    with pytest.raises(UserError, match=f"the model {model} is not there; expected a folder, a Hub id OWNER/NAME, tiny"):
        subjects.against(model, "tiny", str)


def test_a_typing_error_in_a_path_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="the model runs/dmeo is not there"):
        subjects.against("runs/dmeo", "tiny", str)
    assert [s.model for s in subjects.against("unsloth/gemma-3-1b-it", "tiny", str)] == ["tiny", "unsloth/gemma-3-1b-it"]
