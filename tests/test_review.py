"""review: out to a sheet and back, formula-safe, nothing unmatched, two reviewers compared."""

import csv

import pytest

from alif_kit import config
from alif_kit.errors import UserError
from alif_kit.records import Example, Provenance, write_jsonl
from alif_kit.run_folder import Run
from alif_kit.synth import review


def example(number, category="qa", **changes):
    values = {"instruction": f"سوال نمبر {number} کیا ہے؟", "output": f"جواب {number} یہ ہے۔", **changes}
    return Example(category, provenance=Provenance("t", number, 1, "h"), **values)


@pytest.fixture
def run(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    pool = [example(i) for i in range(6)] + [example(i, "ethics", output='=HYPERLINK("x") 1') for i in range(6, 9)]
    write_jsonl(run.file("synth", "pool.jsonl"), pool)
    return run


def fill(path, decisions):
    """Rewrite a csv sheet with decisions: {row index: {column: value}}."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, changes in decisions.items():
        rows[index].update(changes)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, review.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.xlsx"])
def test_a_sheet_comes_back_as_it_went_and_holds_no_formula(run, tmp_path, name):
    assert review.export(run, tmp_path / name, 9) == 9
    rows = review.read_sheet(tmp_path / name)
    assert {r["output"] for r in rows if r["category"] == "ethics"} == {'=HYPERLINK("x") 1'}
    if name.endswith("xlsx"):
        from openpyxl import load_workbook

        sheet = load_workbook(tmp_path / name).active
        assert sheet.sheet_view.rightToLeft
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)
    else:
        assert ",=" not in (tmp_path / name).read_text("utf-8-sig")


@pytest.mark.parametrize("text", ["=1+1", "+92", "-5", "@x", "'=1", "''", "سادہ", ""])
def test_neutral_text_is_restored(text):
    assert review.restore(review.neutral(text)) == text
    assert not review.neutral(text).startswith(review.FORMULA)


def test_the_sample_has_every_category(run, tmp_path):
    review.export(run, tmp_path / "s.csv", 3)
    assert sorted({r["category"] for r in review.read_sheet(tmp_path / "s.csv")}) in (["ethics", "qa"], ["qa"], ["ethics"])
    review.export(run, tmp_path / "s.csv", 8)
    assert {r["category"] for r in review.read_sheet(tmp_path / "s.csv")} == {"ethics", "qa"}


def test_decisions_are_kept_beside_the_original_and_applied(run, tmp_path):
    sheet = tmp_path / "s.csv"
    review.export(run, sheet, 9)
    rows = fill(
        sheet,
        {
            0: {"decision": "accept", "reviewer": "a"},
            1: {"decision": "Edit", "reviewer": "a", "new_output": "درست جواب یہ ہے۔", "note": "املا"},
            2: {"decision": "reject", "reviewer": "a"},
        },
    )
    assert review.take(run, sheet) == {"accept": 1, "edit": 1, "reject": 1}
    kept = review.read(run)
    assert kept[1]["edit"]["output"] == "درست جواب یہ ہے۔" and kept[1]["original"]["output"] == review.restore(rows[1]["output"])
    pool = list(review.read_jsonl(run.file("synth", "pool.jsonl"), Example))
    reviewed = {e.provenance.request: e for e in review.apply(pool, kept)}
    assert len(reviewed) == 8
    states = [e.provenance.review for e in reviewed.values()]
    assert (states.count("accepted"), states.count("edited"), states.count("unreviewed")) == (1, 1, 6)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"id": "f" * 16, "decision": "accept", "reviewer": "a"}, "row 2: id 'ffffffffffffffff' is not in this run's pool"),
        ({"decision": "maybe", "reviewer": "a"}, "decision is 'maybe'; expected accept, edit or reject"),
        ({"decision": "accept"}, "reviewer is empty"),
        ({"decision": "edit", "reviewer": "a"}, "decision is edit, but new_instruction"),
    ],
)
def test_a_row_that_cannot_be_matched_refuses_the_sheet_whole(run, tmp_path, changes, words):
    review.export(run, tmp_path / "s.csv", 9)
    fill(tmp_path / "s.csv", {0: changes, 1: {"decision": "accept", "reviewer": "a"}})
    with pytest.raises(UserError) as caught:
        review.take(run, tmp_path / "s.csv")
    assert words in str(caught.value) and review.read(run) == []


def test_a_sheet_of_another_kind_is_refused(run, tmp_path):
    (tmp_path / "s.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column 'id'"):
        review.take(run, tmp_path / "s.csv")
    with pytest.raises(UserError, match=r"ends in \.xlsx or \.csv"):
        review.export(run, tmp_path / "s.ods", 3)


def test_kappa_by_hand():
    """10 rows, 7 agreed; left says accept 6, right 5: expected 0.6 * 0.5 + 0.4 * 0.5 = 0.5, kappa (0.7 - 0.5) / 0.5."""
    left = ["accept"] * 6 + ["reject"] * 4
    right = ["accept"] * 4 + ["reject"] * 2 + ["accept"] + ["reject"] * 3
    assert review.cohen_kappa(left, right) == 0.4
    assert review.cohen_kappa(["accept"] * 3, ["accept"] * 3) is None


def test_two_reviewers_are_compared_where_their_rows_overlap(run, tmp_path):
    for reviewer, decisions in (("a", ["accept", "accept", "reject"]), ("b", ["accept", "reject", "reject"])):
        review.export(run, tmp_path / "s.csv", 9)
        fill(tmp_path / "s.csv", {i: {"decision": d, "reviewer": reviewer} for i, d in enumerate(decisions)})
        review.take(run, tmp_path / "s.csv")
    assert len(review.read(run)) == 6
    assert review.agreement(review.read(run)) == {"a, b": {"n": 3, "kappa": 0.4}}
