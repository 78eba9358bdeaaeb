"""review_app: the desk without a browser, and the page in a real one."""

import json

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Example, Provenance, write_jsonl
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.languages.text import comparison_tokens
from alif_kit.synth.novelty import rouge_l_f1
from alif_kit.synth.review import decisions, sheet
from alif_kit.synth.review import page as review_app
from alif_kit.synth.review.page import Desk, Place
from alif_kit.synth.review.sheet import cells

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script> ${window.hacked=3} {{value}} </div>'


def example(number, category="qa", **changes):
    seeds = tuple(s.id for s in pack.seeds("ur")["qa"][:2])
    values = {"instruction": f"سوال نمبر {number} کیا ہے؟", "output": f"جواب {number} یہ ہے کہ سب ٹھیک ہے۔", **changes}
    return Example(category, provenance=Provenance("استاد-4", number, 1, "h", seeds, scores={"nearest_rouge_l": 0.25}), **values)


@pytest.fixture
def run(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    pool = [example(i) for i in range(5)]
    pool.append(example(5, "ethics", output="سوچ سمجھ کر فیصلہ کریں، جلدی نہ کریں، اور گھر والوں سے پوچھ لیں۔ " + HOSTILE))
    sides = {"asked_in": "ur", "source": "ur", "target": "en"}
    pool.append(example(6, "translation", input="آج موسم بہت خوشگوار ہے", output="The weather is lovely today", meta=sides))
    write_jsonl(run.file("synth", "pool.jsonl"), pool)
    return run


def rows_of(run):
    """Rows of review.jsonl, every line whole."""
    return [json.loads(line) for line in run.file("synth", "review.jsonl").read_text("utf-8").splitlines()]


def test_the_desk_selects_by_category_flag_and_what_is_left_to_the_reviewer(run):
    desk = Desk(run)
    everything = desk.select("ali").ids
    assert len(everything) == 7 and everything == Desk(run).select("sara").ids
    assert [desk.examples[i].category for i in desk.select("ali", "ethics").ids] == ["ethics"]
    assert [desk.examples[i].category for i in desk.select("ali", flagged=True).ids] == ["ethics"]
    desk.decide(everything[0], "accept", "ali", "", desk.texts(everything[0]))
    assert desk.select("ali", unreviewed=True).ids == everything[1:] == Desk(run).select("ali ", unreviewed=True).ids
    assert desk.select("sara", unreviewed=True).ids == everything
    assert desk.select("ali", keep=everything[3]).at == 3
    assert "1 of 7 judged" in review_app.progress(desk, Place(everything), "ali")


def test_a_place_stays_inside_its_selection():
    assert Place().moved(1) == Place() and Place().id == ""
    assert Place(("a", "b"), 1).moved(1).id == "b" and Place(("a", "b"), 0).moved(-1).id == "a"


def test_a_decision_that_is_refused_writes_nothing(run):
    desk = Desk(run)
    key = desk.select("ali", "qa").id
    for decision, reviewer, new, words in (
        ("accept", " ", {}, "reviewer is empty"),
        ("edit", "ali", desk.texts(key), "no text is new"),
        ("edit", "ali", {"output": "Only English words stand in this answer"}, "the filter wrong_language"),
        ("accept", "ali", {"output": "نیا جواب یہ ہے۔"}, "output has new text"),
    ):
        with pytest.raises(UserError, match=words):
            desk.decide(key, decision, reviewer, "", new)
    with pytest.raises(UserError, match="no example is on the desk"):
        desk.decide("", "accept", "ali", "", {})
    assert not run.file("synth", "review.jsonl").exists()


def test_a_torn_row_of_a_killed_page_is_cut_off_before_the_next(run):
    desk = Desk(run)
    first, second = desk.select("ali").ids[:2]
    desk.decide(first, "accept", "ali", "", {})
    with run.file("synth", "review.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "torn')
    desk.decide(second, "reject", "ali", "", {})
    assert [row["id"] for row in rows_of(run)] == [first, second]


def test_a_sheet_imported_while_the_page_runs_is_kept_and_known(run, tmp_path):
    desk = Desk(run)
    first, second, third = desk.select("ali").ids[:3]
    desk.decide(first, "accept", "ali", "", {})
    row = {**cells(desk.examples[second]), "decision": "reject", "reviewer": "ali"}
    sheet.write(tmp_path / "s.csv", [row])
    assert decisions.take(run, tmp_path / "s.csv")["reject"] == 1
    assert second not in desk.select("ali", unreviewed=True).ids
    desk.decide(third, "accept", "ali", "", {})
    assert [row["id"] for row in rows_of(run)] == [first, second, third]


def test_a_decision_during_an_import_is_kept(run, tmp_path, monkeypatch):
    desk, read = Desk(run), sheet.read
    first, second = desk.select("ali").ids[:2]
    sheet.write(tmp_path / "s.csv", [{**cells(desk.examples[first]), "decision": "reject", "reviewer": "ali"}])

    def read_and_decide(path):
        desk.decide(second, "accept", "sara", "", {})
        return read(path)

    monkeypatch.setattr(sheet, "read", read_and_decide)
    decisions.take(run, tmp_path / "s.csv")
    assert [row["id"] for row in rows_of(run)] == [second, first]


def test_the_page_names_an_edit_that_repeats_another_example(run):
    desk = Desk(run)
    key = desk.select("ali", "ethics").id
    near = desk.examples[desk.select("ali", "qa").id].instruction
    with pytest.raises(UserError, match="the filter not_novel"):
        desk.decide(
            key,
            "edit",
            "ali",
            "",
            {"instruction": near, "output": "سوچ سمجھ کر فیصلہ کریں، جلدی نہ کریں، اور گھر والوں سے ضرور پوچھ لیں۔"},
        )


def test_neighbours_are_the_nearest_by_rouge_l(run):
    from rapidfuzz.distance import LCSseq

    desk = Desk(run)
    chosen = desk.examples[desk.select("ali", "qa").id]
    mine = comparison_tokens(chosen.instruction)
    scores = []
    for other in desk.examples.values():
        theirs = comparison_tokens(other.instruction)
        if other.id != chosen.id and other.category != "translation":  # that one is compared by its payload
            scores.append(rouge_l_f1(LCSseq.similarity(mine, theirs), len(theirs), len(mine)))
    found = desk.neighbours.nearest(chosen, chosen.id)
    assert [round(score, 6) for score, _ in found] == [round(s, 6) for s in sorted(scores, reverse=True)[:3]]
    assert chosen.id not in {other.id for _, other in found}


def test_the_card_escapes_teacher_text_and_tells_the_origin(run):
    desk = Desk(run)
    html = review_app.card(desk, desk.select("ali", "ethics"), "ali")
    assert "<img" not in html and "<script" not in html and "&lt;img src=x" in html
    assert "استاد-4" in html and "5, 1" in html and "0.25" in html and "mixed_script" in html
    assert '<dd dir="ltr">2, 0</dd>' in html  # two seeds shown, no machine example
    assert 'dir="ltr" lang="en">The weather' in review_app.card(desk, desk.select("ali", "translation"), "ali")


def test_other_reviewers_decisions_are_not_shown(run):
    desk = Desk(run)
    place = desk.select("ali")
    desk.decide(place.id, "reject", "ali", "", {})
    assert "آپ کا فیصلہ: مسترد" in review_app.card(desk, place, "ali")
    assert "آپ کا فیصلہ" not in review_app.card(desk, place, "sara")


@pytest.fixture
def served(run, browser):
    """A page in headless Chromium, over a desk that is really served."""
    pytest.importorskip("gradio", reason="gradio is not installed: it comes with the extra `review`")
    desk = Desk(run)
    page = review_app.build(desk)
    address = review_app.launch(page)
    tab = browser.new_page(viewport={"width": 1400, "height": 950})
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("[data-id]")
    yield tab, desk, page, address
    page.close()


def on_page(tab):
    return tab.get_attribute("[data-id]", "data-id")


def press(tab, key, past=None):
    """Press a key and wait until the page has dealt with it: another example than `past`, or a new status."""
    tab.keyboard.press(key)
    if past:
        tab.wait_for_function("past => document.querySelector('[data-id]').dataset.id !== past", arg=past)
    tab.wait_for_function("() => !document.querySelector('#actions.busy')")


@pytest.mark.slow
def test_a_reviewer_works_through_the_page_by_keyboard(run, served, tmp_path):
    tab, desk, page, address = served
    ids = desk.select("سارہ").ids
    assert address.startswith("http://127.0.0.1:") and page.share_url is None and page.server_name == "127.0.0.1"
    assert tab.evaluate("document.documentElement.dir") == "rtl"
    style = "e => { const s = getComputedStyle(e); return [s.direction, s.fontFamily, s.lineHeight, s.fontSize] }"
    direction, family, line, size = tab.eval_on_selector("article .text[dir=rtl]", style)
    assert direction == "rtl" and family.startswith('"Noto Nastaliq Urdu"')
    assert float(line[:-2]) / float(size[:-2]) == pytest.approx(2.2, abs=0.01)

    press(tab, "a")
    tab.wait_for_selector(".refused")
    assert "reviewer is empty" in tab.inner_text("#status") and not run.file("synth", "review.jsonl").exists()
    tab.fill("#reviewer textarea, #reviewer input", "سارہ")
    press(tab, "Enter")
    tab.wait_for_function("() => !document.querySelector('.refused')")

    assert on_page(tab) == ids[0]
    press(tab, "a", past=ids[0])
    assert [(row["id"], row["decision"], row["reviewer"]) for row in rows_of(run)] == [(ids[0], "accept", "سارہ")]

    tab.keyboard.press("e")
    tab.wait_for_selector("#editor.open")
    assert tab.evaluate("document.activeElement.closest('#new-output') !== null")
    tab.keyboard.type("arn")  # letters in a box are letters
    tab.keyboard.press("Escape")
    tab.wait_for_function("() => !document.querySelector('#editor.open') && !document.querySelector('#actions.busy')")
    assert len(rows_of(run)) == 1 and on_page(tab) == ids[1]

    tab.keyboard.press("e")
    tab.fill("#new-instruction textarea", "یہ سوال اب صاف لکھا گیا ہے، جواب دیجیے۔")
    tab.screenshot(path=tmp_path / "edit.png")
    tab.focus("#new-instruction textarea")
    press(tab, "Control+Enter", past=ids[1])
    edited = rows_of(run)[1]
    assert edited["decision"] == "edit" and edited["edit"] == {"instruction": "یہ سوال اب صاف لکھا گیا ہے، جواب دیجیے۔"}
    assert edited["original"]["instruction"] == desk.examples[ids[1]].instruction

    tab.fill("#note textarea, #note input", "غلط ہے")
    press(tab, "Escape")
    press(tab, "r", past=ids[2])
    assert (rows_of(run)[2]["decision"], rows_of(run)[2]["note"]) == ("reject", "غلط ہے")
    press(tab, "p", past=ids[3])
    assert on_page(tab) == ids[2] and "مسترد" in tab.inner_text(".chip.said")
    press(tab, "ArrowLeft", past=ids[2])
    assert "3 of 7 judged" in tab.inner_text(".progress") and len(rows_of(run)) == 3
    tab.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))] == []
    assert len(decisions.apply(decisions.read_pool(run), decisions.read(run))) == 6


@pytest.mark.slow
def test_teacher_text_stays_text_and_an_urdu_keyboard_works(run, served):
    tab, desk, _, _ = served
    tab.fill("#reviewer textarea, #reviewer input", "علی")
    press(tab, "Enter")
    tab.check("#flagged input")
    tab.wait_for_selector(".chip.flag")
    assert HOSTILE in tab.inner_text("article") and tab.evaluate("window.hacked === undefined")
    flagged = desk.select("علی", flagged=True).id
    assert on_page(tab) == flagged
    tab.evaluate("document.activeElement.blur()")
    key = {"key": "ا", "code": "KeyA", "bubbles": True}
    tab.evaluate("key => document.body.dispatchEvent(new KeyboardEvent('keydown', key))", key)
    tab.wait_for_selector(".chip.said")
    assert [(row["id"], row["decision"]) for row in rows_of(run)] == [(flagged, "accept")]
    assert "آخری" in tab.inner_text("#status")
