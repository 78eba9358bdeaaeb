"""review: what to look at, out to a sheet and back, formula-safe, nothing unmatched, two reviewers compared, the commands."""

import csv
import os
import subprocess
import sys

import pytest
from conftest import PATIENCE

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Example, Provenance, from_dict, write_jsonl
from alif_kit.core.run import Run
from alif_kit.synth.review import decisions as review
from alif_kit.synth.review import sheet as review_sheet


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
    """Fill a sheet of either kind in place: {row index: {column: value}}; returns its rows as they went out."""
    if path.suffix == ".xlsx":
        from openpyxl import load_workbook

        book = load_workbook(path)
        for index, changes in decisions.items():
            for name, value in changes.items():
                book.active.cell(index + 2, review_sheet.COLUMNS.index(name) + 1, value)
        book.save(path)
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, changes in decisions.items():
        rows[index].update(changes)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, review_sheet.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def sheet_of(run, path, count=None, **options):
    """A fresh sheet and the examples in it, by row."""
    path.unlink(missing_ok=True)
    review.export(run, path, count, **options)
    pool = {e.id: e for e in review.read_pool(run)}
    return [pool[row["id"]] for row in review_sheet.read(path)]


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.xlsx"])
def test_a_sheet_comes_back_as_it_went_and_holds_no_formula(run, tmp_path, name):
    assert review.export(run, tmp_path / name, 9) == 9
    rows = review_sheet.read(tmp_path / name)
    assert {r["output"] for r in rows if r["category"] == "ethics"} == {'=HYPERLINK("x") 1'}
    if name.endswith("xlsx"):
        from openpyxl import load_workbook

        sheet = load_workbook(tmp_path / name).active
        assert sheet.sheet_view.rightToLeft
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)
    else:
        assert ",=" not in (tmp_path / name).read_text("utf-8-sig")


@pytest.mark.parametrize("text", ["=1+1", "+92", "-5", "@x", "\t=1", "\n=1", "＝1", "'=1", "''", "1234567890123456", "12e4", "3-4"])
def test_text_a_spreadsheet_would_run_or_respell_is_neutral_and_comes_back(text):
    assert review_sheet.neutral(text) == "'" + text and review_sheet.restore(review_sheet.neutral(text)) == text


@pytest.mark.parametrize("text", ["سادہ", "", "آج 5 کتابیں", "a=1"])
def test_other_text_goes_as_it_is(text):
    assert review_sheet.neutral(text) == text == review_sheet.restore(text)


def test_an_apostrophe_that_a_reviewer_wrote_stays():
    assert review_sheet.restore("'quoted' text") == "'quoted' text"


def test_the_sample_is_in_proportion_and_seeded(run):
    pool = review.read_pool(run)
    for count, shares in ((1, (1, 0)), (2, (1, 1)), (6, (4, 2)), (9, (6, 3)), (99, (6, 3))):
        chosen = review.stratified(pool, count, 0)
        assert tuple(sum(e.category == c for e in chosen) for c in ("qa", "ethics")) == shares
    assert review.stratified(pool, 4, 1) == review.stratified(pool, 4, 1)
    assert any(review.stratified(pool, 4, seed) != review.stratified(pool, 4, 0) for seed in range(1, 9))


def test_a_sheet_of_one_category_or_of_what_is_flagged(run, tmp_path):
    assert {e.category for e in sheet_of(run, tmp_path / "s.csv", category="ethics")} == {"ethics"}
    assert len(sheet_of(run, tmp_path / "s.csv", flagged=True)) == 3
    assert {row["flags"] for row in review_sheet.read(tmp_path / "s.csv")} == {"mixed_script"}
    for options, words in (
        ({"category": "sports"}, "no example of sports is in the pool; the categories are generation"),
        ({"category": "qa", "flagged": True}, "no example of qa is flagged"),
        ({}, "is there already"),
    ):
        name = "s.csv" if not options else "t.csv"
        with pytest.raises(UserError, match=words):
            review.export(run, tmp_path / name, None, **options)


LIMITS = {"qa": (2, 9), "reasoning": (2, 90), "translation": (2, 90), "classification": (1, 3)}
PLAIN = {"provenance": Provenance("t", 1, 1, "h", scores={"nearest_rouge_l": 0.59})}


@pytest.mark.parametrize(
    "category, changes, raised",
    [
        ("qa", {}, ()),
        ("qa", {"provenance": Provenance("t", 1, 1, "h", scores={"nearest_rouge_l": 0.6})}, ("near_duplicate",)),
        ("qa", {"output": "ہاں"}, ("odd_length",)),
        ("qa", {"output": "یہ " * 10}, ("odd_length",)),
        ("qa", {"output": "یہ document بہت اچھا ہے"}, ("mixed_script",)),
        ("qa", {"output": "۴۲ ۴۳"}, ()),
        ("translation", {"output": "It is a good book", "meta": {"asked_in": "ur", "source": "ur", "target": "en"}}, ()),
        (
            "translation",
            {"output": "یہ good کتاب ہے", "meta": {"asked_in": "ur", "source": "en", "target": "ur"}},
            ("mixed_script",),
        ),
        ("reasoning", {"output": "۲ + ۳ = ۵\n۵ × ۲ = ۱٬۰۰۰\nجواب: 1000 روپے", "meta": {"answer": "1000 روپے"}}, ()),
        ("reasoning", {"output": "۲ + ۳ = ۵\n۵ × ۲ = ۱۰\nجواب: ۵", "meta": {"answer": "۵"}}, ("answer_not_last",)),
        ("reasoning", {"output": "۲ + ۳ = ۵\nجواب: ۶", "meta": {"answer": "۶"}}, ()),
        ("classification", {"input": "کھیل یا موسم", "output": "کھیل", "labels": ("کھیل", "موسم")}, ()),
        ("classification", {"output": "کھیل", "labels": ("کھیل", "موسم")}, ("label_unnamed",)),
    ],
)
def test_each_flag_has_its_reason(category, changes, raised):
    task = Example(category, **{"instruction": "یہ کیا ہے؟", "output": "یہ ایک کتاب ہے۔", **PLAIN, **changes})
    assert review.flags(task, 0.7, LIMITS) == raised


def test_the_extremes_of_a_length_are_two_percent_on_either_side():
    def pool(size):
        return [example(n, output="لفظ " * (n + 1)) for n in range(size)]

    assert review.output_limits(pool(100)) == {"qa": (3, 98)}
    assert review.output_limits(pool(49)) == {"qa": (1, 49)}


@pytest.mark.parametrize("name", ["s.csv", "s.xlsx"])
def test_decisions_are_kept_beside_the_original_and_applied(run, tmp_path, name):
    out = sheet_of(run, tmp_path / name, category="qa")
    fill(
        tmp_path / name,
        {
            0: {"decision": "accept", "reviewer": "a"},
            1: {"decision": "Edit", "reviewer": "a", "new_output": "درست جواب یہی ہے۔", "note": "املا"},
            2: {"decision": "reject", "reviewer": "a"},
        },
    )
    assert review.take(run, tmp_path / name) == {"accept": 1, "edit": 1, "reject": 1, "unchanged": 0}
    kept = review.read(run)
    assert kept[1]["edit"] == {"output": "درست جواب یہی ہے۔"} and kept[1]["note"] == "املا"
    assert from_dict(Example, kept[1]["original"]) == out[1]
    reviewed = {e.provenance.request: e for e in review.apply(review.read_pool(run), kept)}
    assert len(reviewed) == 8 and out[2].provenance.request not in reviewed
    states = [e.provenance.review for e in reviewed.values()]
    assert (states.count("accepted"), states.count("edited"), states.count("unreviewed")) == (1, 1, 6)
    assert reviewed[out[1].provenance.request].output == "درست جواب یہی ہے۔"
    assert review.take(run, tmp_path / name)["unchanged"] == 3 and review.read(run) == kept


def test_the_last_judgement_of_an_example_counts(run):
    pool = review.read_pool(run)
    rows = [review.judgement(pool[0], decision, who) for decision, who in (("reject", "a"), ("accept", "b"), ("reject", "a"))]
    assert pool[0].id in {e.id for e in review.apply(pool, rows[:2])}
    assert pool[0].id not in {e.id for e in review.apply(pool, rows)}
    stale = {**rows[0], "id": "0" * 16}
    assert review.apply(pool, [stale]) == pool


def test_a_second_word_of_a_reviewer_comes_after_what_others_said(run, tmp_path):
    for reviewer, decision in (("a", "reject"), ("b", "accept"), ("a", "accept"), ("a", "reject")):
        sheet_of(run, tmp_path / "s.csv", category="qa")
        fill(tmp_path / "s.csv", {0: {"decision": decision, "reviewer": reviewer}})
        review.take(run, tmp_path / "s.csv")
    assert [(row["reviewer"], row["decision"]) for row in review.read(run)][-1] == ("a", "reject")
    assert len(review.read(run)) == 4 and len(review.apply(review.read_pool(run), review.read(run))) == 8


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"id": "f" * 16, "decision": "accept", "reviewer": "a"}, "row 2: id 'ffffffffffffffff' is not in this run's pool"),
        ({"decision": "maybe", "reviewer": "a"}, "decision is 'maybe'; expected accept, edit or reject"),
        ({"decision": "accept"}, "reviewer is empty"),
        ({"decision": "edit", "reviewer": "a"}, "decision is edit, but no text is new"),
        ({"decision": "accept", "reviewer": "a", "new_output": "نیا جواب یہ ہے۔"}, "decision is accept, but output has new text"),
        ({"reviewer": "a", "new_output": "نیا جواب یہ ہے۔"}, "decision is ''; expected accept"),
        ({"decision": "accept", "reviewer": "a", "output": "بدلا ہوا جواب"}, "output was changed in its own column"),
        ({"decision": "edit", "reviewer": "a", "new_output": "This answer is in plain English now"}, "the filter wrong_language"),
        ({"decision": "edit", "reviewer": "a", "new_output": "کم"}, "the filter too_short"),
        ({"decision": "edit", "reviewer": "a", "new_labels": "ایک، دو"}, "only classification and sentiment have labels"),
    ],
)
def test_a_row_that_cannot_be_taken_refuses_the_sheet_whole(run, tmp_path, changes, words):
    sheet_of(run, tmp_path / "s.csv", category="qa")
    fill(tmp_path / "s.csv", {0: changes, 1: {"decision": "accept", "reviewer": "a"}})
    with pytest.raises(UserError) as caught:
        review.take(run, tmp_path / "s.csv")
    assert words in str(caught.value) and "row 2" in str(caught.value) and "\n" not in str(caught.value)
    assert review.read(run) == []


def test_two_rows_of_one_reviewer_for_one_example_are_refused(run, tmp_path):
    out = sheet_of(run, tmp_path / "s.csv", category="qa")
    judged = {"id": out[0].id, "instruction": out[0].instruction, "output": out[0].output, "reviewer": "a"}
    fill(tmp_path / "s.csv", {0: {**judged, "decision": "accept"}, 1: {**judged, "decision": "reject"}})
    with pytest.raises(UserError, match="row 3: a has judged this example in a row above already"):
        review.take(run, tmp_path / "s.csv")


def test_an_edit_rereads_what_is_in_the_text():
    reasoning = example(1, "reasoning", output="استدلال:\nدو اور تین جمع کریں: ۲ + ۳ = ۵\nجواب: 4", meta={"answer": "4"})
    row = review.judgement(reasoning, "edit", "a", new={"output": reasoning.output.replace("جواب: 4", "جواب: ۵")})
    assert review.apply([reasoning], [row])[0].meta == {"answer": "۵"}
    sums = {"output": "استدلال:\nدو اور تین جمع کریں: ۲ + ۳ = ۶\nجواب: ۶"}
    with pytest.raises(UserError, match="wrong_arithmetic"):
        review.judgement(reasoning, "edit", "a", new=sums)
    labelled = example(2, "classification", input="بارش کل تک جاری رہے گی", output="کھیل", labels=("کھیل", "موسم"))
    assert review.revise(labelled, review.judgement(labelled, "edit", "a", new={"output": "موسم"})["edit"]).output == "موسم"
    with pytest.raises(UserError, match="label_not_in_set"):
        review.judgement(labelled, "edit", "a", new={"output": "صحت"})
    row = review.judgement(labelled, "edit", "a", new={"output": "صحت", "labels": "صحت, موسم"})
    assert review.apply([labelled], [row])[0].labels == ("صحت", "موسم")


QUESTIONS = ("پاکستان کا دار الحکومت کون سا شہر ہے؟", "سورج مشرق سے کیوں نکلتا دکھائی دیتا ہے؟")


def test_an_edit_that_repeats_another_example_is_named(run, tmp_path):
    first, second = pool = [example(n, instruction=text) for n, text in enumerate(QUESTIONS)]
    write_jsonl(run.file("synth", "pool.jsonl"), pool)
    others = review.Neighbours(pool, 0.7)
    for near in (second.instruction, second.instruction.replace("دکھائی", "نظر")):
        sheet_of(run, tmp_path / "s.csv", category="qa")
        fill(tmp_path / "s.csv", {0: {"decision": "edit", "reviewer": "a", "new_instruction": near}})
        with pytest.raises(UserError, match="row 2: .* the filter not_novel"):
            review.take(run, tmp_path / "s.csv")
    own = {"instruction": first.instruction.replace("کون سا شہر", "کیا")}
    assert review.judgement(first, "edit", "a", new=own, others=others)["edit"] == own
    twins = [second, example(3, instruction=second.instruction.replace("دکھائی", "نظر"))]
    told = {"output": "زمین اپنے محور پر گھومتی ہے۔"}
    assert review.judgement(second, "edit", "a", new=told, others=review.Neighbours(twins, 0.7))["edit"] == told


def test_khali_empties_an_input(run, tmp_path):
    given = example(20, input="یہ متن اب غیر ضروری ہے")
    write_jsonl(run.file("synth", "pool.jsonl"), [given])
    sheet_of(run, tmp_path / "s.csv")
    fill(tmp_path / "s.csv", {0: {"decision": "edit", "reviewer": "a", "new_input": "خالی"}})
    review.take(run, tmp_path / "s.csv")
    assert review.apply([given], review.read(run))[0].input == ""


def test_a_sheet_of_another_kind_is_refused(run, tmp_path):
    (tmp_path / "s.csv").write_text("a,b\n1,2\n")
    (tmp_path / "t.csv").write_bytes("متن".encode("utf-16"))
    (tmp_path / "t.xlsx").write_bytes(b"no workbook")
    for name, words in (
        ("s.csv", "no column 'id'"),
        ("t.csv", "cannot be read as a sheet"),
        ("t.xlsx", "cannot be read as a sheet"),
        ("none.csv", "is missing"),
    ):
        with pytest.raises(UserError, match=words):
            review.take(run, tmp_path / name)
    with pytest.raises(UserError, match=r"ends in \.xlsx or \.csv"):
        review.export(run, tmp_path / "s.ods", 3)


def test_a_csv_saved_with_semicolons_is_read(run, tmp_path):
    sheet_of(run, tmp_path / "s.csv")
    before = review_sheet.read(tmp_path / "s.csv")
    with (tmp_path / "s.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, review_sheet.COLUMNS, delimiter=";")
        writer.writeheader()
        writer.writerows(before)
    assert review_sheet.read(tmp_path / "s.csv") == before


def test_kappa_by_hand():
    """10 rows, 7 agreed; left says accept 6, right 5: expected 0.6 * 0.5 + 0.4 * 0.5 = 0.5, kappa (0.7 - 0.5) / 0.5."""
    left = ["accept"] * 6 + ["reject"] * 4
    right = ["accept"] * 4 + ["reject"] * 2 + ["accept"] + ["reject"] * 3
    assert review.cohen_kappa(left, right) == 0.4
    assert review.cohen_kappa(["accept"] * 3, ["accept"] * 3) is None


def test_kappa_by_hand_of_three_decisions():
    """Rows left, columns right: accept 4 1 0, edit 0 2 1, reject 1 0 1. Observed 7/10; expected (5*5 + 3*3 + 2*2) / 100 = 0.38."""
    table = {("accept", "accept"): 4, ("accept", "edit"): 1, ("edit", "edit"): 2, ("edit", "reject"): 1}
    table |= {("reject", "accept"): 1, ("reject", "reject"): 1}
    left, right = zip(*(pair for pair, count in table.items() for _ in range(count)), strict=True)
    assert review.cohen_kappa(list(left), list(right)) == round((0.7 - 0.38) / 0.62, 4)


def test_reviewers_are_compared_where_their_rows_overlap(run):
    pool = review.read_pool(run)
    said = {"a": ["accept", "accept", "reject"], "b": ["accept", "reject", "reject"]}
    rows = [review.judgement(pool[0], "reject", "a")]  # taken back below: a reviewer's last word counts
    rows += [review.judgement(pool[i], decision, who) for who, all_ in said.items() for i, decision in enumerate(all_)]
    rows.append(review.judgement(pool[5], "accept", "c"))
    none = {"n": 0, "kappa": None}
    assert review.agreement(rows) == {"a, b": {"n": 3, "kappa": 0.4}, "a, c": none, "b, c": none}


def alif_review(*arguments):
    """`alif review ...` as its own process, through the entry point's handling of errors."""
    code = "from alif_kit.cli import main, review; main.app = review.review_app; main.main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"}, timeout=PATIENCE)


def test_the_commands_from_sheet_to_agreement(run, tmp_path):
    where, sheet = ("--run", run.path), tmp_path / "s.xlsx"
    for reviewer, decisions in (("ali", ["accept", "accept", "reject"]), ("sara", ["accept", "reject", "reject"])):
        sheet.unlink(missing_ok=True)
        made = alif_review("export", sheet, "--count", 9, *where)
        assert made.returncode == 0 and made.stdout.startswith("9 examples")
        fill(sheet, {i: {"decision": d, "reviewer": reviewer} for i, d in enumerate(decisions)})
        taken = alif_review("import", sheet, *where)
        assert taken.returncode == 0 and "0 unchanged" in taken.stdout
        alone = alif_review("agreement", *where)
        assert ("no overlap: ali alone" in alone.stdout) == (reviewer == "ali")
    assert alone.stdout.split() == ["ali,", "sara", "n", "3", "kappa", "0.40"]


def test_the_commands_answer_a_mistake_with_one_sentence_and_code_2(run, tmp_path):
    where = ("--run", run.path)
    for arguments, words in (
        (["export", tmp_path / "s.ods", *where], "ends in .xlsx or .csv"),
        (["export", tmp_path / "s.csv", "--category", "sports", *where], "no example of sports is in the pool"),
        (["import", tmp_path / "none.csv", *where], "is missing"),
        (["agreement", "--run", tmp_path / "nowhere"], "holds no config.json"),
        (["app", "--run", tmp_path / "nowhere"], "holds no config.json"),
    ):
        result = alif_review(*arguments)
        assert result.returncode == 2 and words in result.stderr, result.stderr
        assert result.stderr.startswith("alif: ") and len(result.stderr.splitlines()) == 1


def test_the_package_and_its_commands_load_without_gradio_and_openpyxl(run, tmp_path):
    blocked = (
        "import sys; sys.modules['gradio'] = sys.modules['openpyxl'] = None\n"
        "from alif_kit.cli import main, review; main.app = review.review_app; main.main()"
    )
    for arguments, words in (
        (["export", tmp_path / "s.xlsx", "--run", run.path], "openpyxl is not installed"),
        (["app", "--run", run.path], "gradio is not installed"),
    ):
        command = [sys.executable, "-c", blocked, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert result.returncode == 2 and words in result.stderr, result.stderr
