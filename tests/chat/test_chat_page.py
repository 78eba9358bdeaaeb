"""chat_page: the page in a real browser, over speakers whose every piece the test lets go."""

import json
import queue
import threading
import urllib.error
import urllib.request

import pytest
from browsers import fonts_of
from conftest import PATIENCE

from alif_kit.chat import page as chat_page
from alif_kit.chat.talk import Standing, Wishes
from alif_kit.core.errors import StoppedError, UserError

HOSTILE = (
    '<img src="http://evil.example/x.png" onerror="window.hacked=1"><script>window.hacked=2</script> ${window.hacked=3} {{value}}'
)
ANSWER = "پاکستان کا دارالحکومت **اسلام آباد** ہے۔\n\n- یہ ۱۹۶۰ء کی دہائی میں بنا\n- The city lies near the Margalla hills"


class Gated:
    """A speaker that says what it is handed, piece by piece; `None` ends an answer, an exception breaks it."""

    def __init__(self, name="urdu-t4: release/merged"):
        self.name, self.pieces, self.asked, self.closed = name, queue.Queue(), [], threading.Event()

    def ready(self):
        pass

    def says(self, *pieces):
        for piece in pieces:
            self.pieces.put(piece)

    def stream(self, messages, temperature, max_tokens, usage):
        self.asked.append({"messages": messages, "temperature": temperature, "max_tokens": max_tokens})
        try:
            while (piece := self.pieces.get(timeout=PATIENCE)) is not None:
                if isinstance(piece, Exception):
                    raise piece
                usage.tokens += 1
                yield piece
            usage.by_itself = True
        finally:
            self.closed.set()


def test_a_public_page_without_a_password_is_refused_before_anything_is_served():
    for share, password, words in (
        (True, "", "--share makes the page public, so it needs a password"),
        (True, "1234567", "the password has 7 characters; expected at least 8"),
        (False, "1234567", "the password has 7 characters; expected at least 8"),
    ):
        with pytest.raises(UserError, match=words):
            chat_page.launch(None, password=password, share=share)
    assert chat_page._is_known("درست لفظ 1", "alif", "درست لفظ 1")
    assert not chat_page._is_known("درست لفظ 1", "alif", "درست لفظ 2") and not chat_page._is_known("12345678", "root", "12345678")


@pytest.fixture
def chat(tmp_path):
    pytest.importorskip("gradio", reason="gradio is not installed: it comes with the extra `review`")
    model, base = Gated(), Gated("unsloth/gemma-3-4b-it")
    return chat_page.Chat(model, Standing(model.name, "urdu-t4", "fail"), tmp_path / "release" / "flagged.jsonl", base, Wishes())


@pytest.fixture
def served(chat, browser):
    page = chat_page.build(chat)
    address = chat_page.launch(page)
    yield page, address
    page.close()


def visit(browser, address, width=1280, height=900):
    """A visitor with a clipboard of their own, and the addresses their browser asks for."""
    context = browser.new_context(viewport={"width": width, "height": height}, permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(address)
    tab.wait_for_selector(".example")
    return tab


def send(tab, text):
    tab.get_by_role("textbox", name="آپ کا پیغام").fill(text)
    tab.keyboard.press("Enter")


def write(tab, field, text):
    """Type as a person does, key by key, and again where the panel was still opening and lost some."""
    while field.input_value() != text:
        field.fill("")
        field.press_sequentially(text, delay=10)
        tab.wait_for_timeout(250)


def press_escape_until_heard(tab):
    """As a person does: again where the page has not sent it, and go on once the server has answered."""
    from playwright.sync_api import TimeoutError

    for _ in range(int(PATIENCE / 5)):
        tab.wait_for_timeout(300)
        try:
            with tab.expect_response("**/run/predict*", timeout=5000):
                tab.keyboard.press("Escape")
            return
        except TimeoutError:
            continue
    raise AssertionError("the server never heard that Escape was pressed")


def whole(tab, who="model"):
    """Wait until the last answer is whole and the page has noticed."""
    tab.wait_for_selector(f"#now .answer.{who} .tools")
    tab.wait_for_function("() => !document.body.classList.contains('busy')")


@pytest.mark.slow
def test_a_person_chats_in_urdu_by_keyboard(chat, served, browser, tmp_path):
    page, address = served
    model = chat.speaker
    assert address.startswith("http://127.0.0.1:") and page.share_url is None and page.server_name == "127.0.0.1"
    tab = visit(browser, address)
    tab.wait_for_function("() => document.documentElement.dir === 'rtl'")
    assert tab.evaluate("document.documentElement.lang") == "ur" and tab.locator(".example").count() == 14
    assert "urdu-t4" in tab.inner_text(".footer") and "اپنے بنیادی ماڈل سے کمزور" in tab.inner_text(".verdict.fail")

    box = tab.get_by_role("textbox", name="آپ کا پیغام")
    assert box.evaluate("e => e === document.activeElement") and box.evaluate("e => getComputedStyle(e).direction") == "rtl"
    tab.keyboard.type("پاکستان کا دارالحکومت کون سا شہر ہے؟")
    tab.keyboard.press("Enter")
    model.says("پاکستان ")
    shows = "text => document.querySelector('#now .text')?.innerText.trim() === text"
    tab.wait_for_function(shows, arg="پاکستان")  # while the next piece has not been said
    tab.wait_for_timeout(200)  # two pieces at once are one update
    model.says("کا ")
    tab.wait_for_function(shows, arg="پاکستان کا")
    assert tab.get_attribute("#now", "aria-busy") == "true" and tab.locator(".tools").count() == 0
    assert tab.get_by_role("button", name="روکیں").is_visible() and not tab.locator("#send").is_visible()
    assert box.input_value() == ""
    model.says(ANSWER.removeprefix("پاکستان کا "), None)
    whole(tab)
    assert tab.get_attribute("#now", "aria-busy") == "false" and "جواب مکمل ہو گیا" in tab.inner_text("#status[role=status]")
    assert box.evaluate("e => e === document.activeElement")
    assert model.asked[0]["messages"] == [{"role": "user", "content": "پاکستان کا دارالحکومت کون سا شہر ہے؟"}]
    assert model.asked[0]["temperature"] == 0.7 and model.asked[0]["max_tokens"] == 512

    style = "e => { const s = getComputedStyle(e); return [s.direction, s.textAlign, s.fontFamily, s.lineHeight, s.fontSize] }"
    direction, align, family, line, size = tab.eval_on_selector("#now .text p[dir=rtl]", style)
    assert (direction, align) == ("rtl", "right") and '"Noto Nastaliq Urdu", "Jameel Noori Nastaleeq"' in family
    assert float(line[:-2]) / float(size[:-2]) == pytest.approx(2.2, abs=0.01)
    assert tab.eval_on_selector("#now .text li[dir=ltr]", style)[0] == "ltr"
    drawn = fonts_of(tab, "#now .text p[dir=rtl]")
    assert max(drawn, key=drawn.get) == "Noto Nastaliq Urdu", "install fonts-noto-core, or see what fell back"
    tab.screenshot(path=tmp_path / "answer.png")

    tab.get_by_role("button", name="نقل کریں").press("Enter")
    assert tab.evaluate("navigator.clipboard.readText()") == ANSWER
    tab.get_by_role("button", name="نشان لگائیں").press("Enter")
    assert tab.get_by_role("textbox", name="اس جواب میں کیا خرابی ہے؟").evaluate("e => e === document.activeElement")
    tab.keyboard.type("سال غلط ہے")
    tab.get_by_role("button", name="جائزے کے لیے محفوظ کریں").press("Enter")
    tab.wait_for_function("() => !document.querySelector('#flagging.open')")
    assert "محفوظ ہو گیا" in tab.inner_text("#status[role=status]")
    (row,) = map(json.loads, chat.review_file.read_text("utf-8").splitlines())
    assert (row["answer"], row["note"], row["model"]) == (ANSWER, "سال غلط ہے", "urdu-t4: release/merged")
    assert row["messages"] == model.asked[0]["messages"]

    model.says("دوسرا جواب", None)
    tab.get_by_role("button", name="دوبارہ جواب دیں").click()
    tab.wait_for_function(shows, arg="دوسرا جواب")
    whole(tab)
    assert model.asked[1] == model.asked[0] and tab.locator(".turn").count() == 1

    model.closed.clear()
    send(tab, "ایک لمبی کہانی سنائیں")
    model.says("ایک تھا ")
    tab.wait_for_function("() => document.querySelector('#now .text')?.innerText.includes('ایک تھا')")
    press_escape_until_heard(tab)
    model.says("بادشاہ ", "اور یہ کوئی نہیں دیکھے گا")
    whole(tab)
    assert model.closed.wait(PATIENCE) and "روک دیا گیا" in tab.inner_text("#now .tools")
    assert tab.inner_text("#now .text").strip() == "ایک تھا بادشاہ" and tab.locator("#past .turn").count() == 1
    assert [m["content"] for m in model.asked[2]["messages"][:2]] == ["پاکستان کا دارالحکومت کون سا شہر ہے؟", "دوسرا جواب"]
    tab.get_by_role("button", name="نئی گفتگو").click()
    tab.wait_for_selector(".example")
    assert tab.locator(".turn").count() == 0
    assert [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.slow
def test_the_page_in_english_with_the_base_beside_and_hostile_text(chat, served, browser):
    _, address = served
    tab = visit(browser, address)
    tab.locator("#interface").get_by_text("English").click()
    tab.wait_for_function("() => document.documentElement.dir === 'ltr'")
    assert tab.evaluate("document.documentElement.lang") == "en" and tab.get_by_role("radio", name="English").is_checked()
    assert tab.get_by_role("log", name="Conversation").count() == 2
    tab.get_by_role("button", name="Settings").click()
    write(tab, tab.get_by_role("textbox", name="System line for the model"), "Answer briefly.")
    tab.get_by_role("spinbutton", name="Temperature").fill("0.2")
    tab.get_by_role("checkbox", name="Show the base model's answer beside it").check()
    example = tab.locator(".example").nth(8)
    example.press("Enter")
    box = tab.get_by_role("textbox", name="Your message")
    assert box.input_value() == example.get_attribute("data-prompt") and "She closed her umbrella" in box.input_value()
    chat.speaker.says(HOSTILE, None)
    chat.base.says("اس نے ", StoppedError(f"memory is full {HOSTILE}"))
    tab.keyboard.press("Enter")
    whole(tab, "base")
    model, base = tab.locator("#now .answer.model"), tab.locator("#now .answer.base")
    assert HOSTILE in model.locator(".text").inner_text() and f"memory is full {HOSTILE}" in base.inner_text()
    assert tab.evaluate("window.hacked === undefined") and not [url for url in tab.asked if "evil" in url]
    left, right = model.bounding_box(), base.bounding_box()
    assert left["x"] + left["width"] < right["x"] and abs(left["y"] - right["y"]) < 2  # beside, not below
    assert base.get_attribute("aria-label") == "Base model: unsloth/gemma-3-4b-it"
    for asked in (chat.speaker.asked[0], chat.base.asked[0]):
        assert asked["messages"][0] == {"role": "system", "content": "Answer briefly."} and asked["temperature"] == 0.2
    tab.locator("#interface").get_by_text("اردو").click()
    tab.wait_for_function("() => document.documentElement.dir === 'rtl'")
    assert "بنیادی ماڈل" in tab.inner_text("#now .answer.base h3") and HOSTILE in tab.inner_text("#now .answer.model .text")


@pytest.mark.slow
def test_each_visitor_has_a_conversation_of_their_own_and_a_phone_is_wide_enough(chat, served, browser, tmp_path):
    _, address = served
    first, second = visit(browser, address), visit(browser, address, 390, 844)
    chat.speaker.says("پہلے کا جواب " * 40 + "\n\n```\n" + "x" * 200 + "\n```", None)
    send(first, "میں پہلا ہوں")
    whole(first)
    assert second.locator(".turn").count() == 0
    chat.speaker.says("| الف | ب |\n|--|--|\n| " + "لمبا خانہ " * 30 + "| ج |", None)
    send(second, "میں دوسرا ہوں")
    whole(second)
    assert chat.speaker.asked[1]["messages"] == [{"role": "user", "content": "میں دوسرا ہوں"}]
    assert "میں دوسرا ہوں" not in first.inner_text("body")
    wide = "[document.documentElement.scrollWidth - innerWidth, document.querySelector('#send').getBoundingClientRect().left]"
    overflow, left = second.evaluate(wide)
    assert overflow <= 0 and left >= 0
    second.screenshot(path=tmp_path / "phone.png")


@pytest.mark.slow
def test_a_password_stands_before_the_page(chat, browser):
    page = chat_page.build(chat)
    address = chat_page.launch(page, password="a long password")
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}config")
        tab = browser.new_page()
        tab.goto(address)
        for password, through in (("a wrong password", False), ("a long password", True)):
            tab.fill("input[type=text], label:has-text('username') input, label:has-text('username') textarea", "alif")
            tab.fill("input[type=password]", password)
            with tab.expect_response("**/login") as heard:
                tab.keyboard.press("Enter")
            assert heard.value.ok == through
            assert through or tab.locator(".example").count() == 0
        tab.wait_for_selector(".example")
    finally:
        page.close()
