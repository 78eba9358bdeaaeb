"""chat: the chat page, Urdu first, for one model and on request its base beside it.

In: speakers, what is known of them, a review file. Out: a page on this machine, or, with a password, behind a public link.
`Chat` is the page without the page; `build` and `launch` are gradio's, look and keys are in chat_page.css and .js, words in the
language pack.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from alif_kit.chat import html
from alif_kit.chat.html import Texts
from alif_kit.chat.speech import Speaker
from alif_kit.chat.talk import BASE, MODEL, Standing, Talk, Wishes, flag
from alif_kit.core.errors import UserError

USER, SHORTEST_PASSWORD = "alif", 8
LONGEST = 2048
SECONDS_BETWEEN = 0.05
"""A page is not sent more often than this while an answer grows: each time is a message to the browser."""
NAMES = {"ur": "اردو", "en": "English"}


@dataclass
class Chat:
    """Who answers, what the page says of them, and where flagged answers go."""

    speaker: Speaker
    standing: Standing
    review_file: Path
    base: Speaker | None = None
    wishes: Wishes = field(default_factory=Wishes)
    language: str = "ur"
    writing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pages(self) -> dict[str, Texts]:
        return html.texts(self.language)


def _answer(
    chat: Chat, again: bool, talk: Talk, language: str, text: str, system: str, temperature: float, length: float, beside: bool
) -> Iterator[tuple[Any, ...]]:
    """Past turns, the growing one, the message box, the status: as the answer grows, and once it is whole."""
    skip, page, wishes = _gradio().skip(), chat.pages[language], Wishes(system, temperature, int(length), beside)
    speakers = {MODEL: chat.speaker, **({BASE: chat.base} if beside and chat.base else {})}
    try:
        growing = talk.again(wishes, speakers) if again else talk.ask(text, wishes, speakers)
    except UserError as error:
        yield skip, skip, skip, html.status("refused", "", str(error))
        return
    next(growing)
    writing = html.status("writing", page.say["writing"])
    yield html.past(talk, page), html.now(talk, page), (skip if again else ""), writing
    shown, ended = 0.0, 0
    for turn in growing:
        now_ended = sum(bool(answer.end) for answer in turn.answers.values())
        if now_ended > ended or time.monotonic() - shown > SECONDS_BETWEEN:
            shown, ended = time.monotonic(), now_ended
            yield skip, html.now(talk, page), skip, skip
    yield skip, html.now(talk, page), skip, _ended(talk, page)


def _ended(talk: Talk, page: Texts) -> str:
    """The status once an answer has ended, which screen readers say."""
    ends = {answer.end for turn in talk.turns[-1:] for answer in turn.answers.values()}
    if "failed" in ends:
        return html.status("refused", page.say["failed_end"])
    return html.status("saved", page.say["stopped_end" if "stopped" in ends else "done"])


def _reset(chat: Chat, talk: Talk, language: str) -> tuple[Any, ...]:
    talk.reset()
    return "", html.now(talk, chat.pages[language]), "", ""


def _flag(chat: Chat, talk: Talk, language: str, place: str, note: str) -> tuple[Any, ...]:
    number, _, who = str(place).partition(" ")
    try:
        flag(chat.review_file, talk, int(number or -1), who, note, chat.writing)
    except (UserError, OSError, ValueError) as error:
        return html.status("refused", "", str(error)), _gradio().skip()
    return html.status("saved", chat.pages[language].say["flagged"]), ""


def _gradio() -> Any:
    # Before the import, which is when gradio reads it: the page reports to nobody.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError:
        raise UserError(
            "gradio is not installed; run: pip install 'alif-kit[review]', or chat in the terminal without --web"
        ) from None
    return gradio


def build(chat: Chat) -> Any:
    """The gradio page over a chat, not yet launched. Raises UserError when gradio is not installed."""
    gr, (first, page) = _gradio(), next(iter(chat.pages.items()))
    with gr.Blocks(title="alif chat", analytics_enabled=False, fill_width=True) as blocks:
        talk = gr.State(Talk())
        parts: dict[str, Any] = {}
        with gr.Row(elem_id="head"):
            parts["header"] = gr.HTML(html.header(chat.standing.model, page))
            choices = [(NAMES.get(name, name), name) for name in chat.pages]
            language = gr.Radio(choices, value=first, label=page.say["interface"], elem_id="interface", min_width=150)
        _settings(gr, chat, page, parts)
        parts["past"] = gr.HTML(elem_id="past")
        parts["now"] = gr.HTML(html.now(Talk(), page), elem_id="now")
        parts["footer"] = gr.HTML(html.footer(chat.standing, page), elem_id="foot")
        _flag_form(gr, page, parts)
        _composer(gr, page, parts)
        _wire(chat, talk, language, parts)
    return blocks


def _settings(gr: Any, chat: Chat, page: Texts, parts: dict[str, Any]) -> None:
    say, wishes = page.say, chat.wishes
    with gr.Accordion(say["settings"], open=False, elem_id="settings") as parts["settings"]:
        parts["system"] = gr.Textbox(wishes.system, label=say["system"], lines=2, max_lines=8, elem_id="system")
        with gr.Row():
            parts["temperature"] = gr.Slider(0, 1.5, wishes.temperature, step=0.05, label=say["temperature"], elem_id="temperature")
            parts["length"] = gr.Slider(16, LONGEST, wishes.max_tokens, step=16, label=say["length"], elem_id="length")
        parts["beside"] = gr.Checkbox(wishes.beside, label=say["beside"], visible=chat.base is not None, elem_id="beside")


def _flag_form(gr: Any, page: Texts, parts: dict[str, Any]) -> None:
    with gr.Column(elem_id="flagging"):
        parts["place"] = gr.Textbox(visible=False)
        parts["flag_note"] = gr.Textbox(label=page.say["flag_note"], lines=2, max_lines=4, elem_id="note")
        with gr.Row():
            parts["save"] = gr.Button(page.say["save"], variant="primary", elem_id="save")
            parts["cancel"] = gr.Button(page.say["cancel"], elem_id="cancel")


def _composer(gr: Any, page: Texts, parts: dict[str, Any]) -> None:
    say = page.say
    with gr.Column(elem_id="composer"):
        with gr.Row(elem_id="line"):
            hint = {"placeholder": say["placeholder"], "label": say["message"], "show_label": False, "container": False}
            parts["message"] = gr.Textbox(**hint, lines=1, max_lines=6, elem_id="message", scale=8, autofocus=True)
            parts["send"] = gr.Button(say["send"], variant="primary", elem_id="send", scale=1, min_width=90)
            parts["stop"] = gr.Button(say["stop"], variant="stop", elem_id="stop", scale=1, min_width=90)
        with gr.Row(elem_id="below"):
            parts["again"] = gr.Button(say["again"], size="sm", elem_id="again", min_width=80)
            parts["reset"] = gr.Button(say["reset"], size="sm", elem_id="reset", min_width=80)
            parts["keys"] = gr.HTML(html.status("keys", say["keys"]), elem_id="keys")
            parts["status"] = gr.HTML(elem_id="status")


def _switch(chat: Chat, names: list[str], talk: Talk, language: str) -> list[Any]:
    """The whole page in another language: every word on it, the conversation's labels included."""
    gr, page = _gradio(), chat.pages[language]
    new = {name: gr.update(value=page.say[name]) for name in ("send", "stop", "again", "reset", "save", "cancel")} | {
        "header": html.header(chat.standing.model, page),
        "past": html.past(talk, page),
        "now": html.now(talk, page),
        "footer": html.footer(chat.standing, page),
        "keys": html.status("keys", page.say["keys"]),
        "status": "",
        "message": gr.update(label=page.say["message"], placeholder=page.say["placeholder"]),
    }
    return [new[name] if name in new else gr.update(label=page.say[name]) for name in names]


def _wire(chat: Chat, talk: Any, language: Any, parts: dict[str, Any]) -> None:
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    one = {"concurrency_id": "answer", "concurrency_limit": 1, "trigger_mode": "once"}  # there is one model; who comes second waits
    message, status = parts["message"], parts["status"]
    shown = [parts["past"], parts["now"], message, status]
    asked = [talk, language, message, parts["system"], parts["temperature"], parts["length"], parts["beside"]]
    for again, triggers in ((False, [parts["send"].click, message.submit]), (True, [parts["again"].click])):
        begun = _gradio().on(triggers, partial(_answer, chat, again), asked, shown, js="(...all) => alif.busy(all)", **one, **quiet)
        begun.then(None, None, js="() => alif.done()", api_visibility="private")
    parts["stop"].click(lambda of: of.stop.set(), [talk], None, queue=False, **quiet)
    parts["reset"].click(partial(_reset, chat), [talk, language], shown, queue=False, **quiet)
    save = parts["save"].click(
        partial(_flag, chat),
        [talk, language, parts["place"], parts["flag_note"]],
        [status, parts["flag_note"]],
        js="(talk, language, place, note) => [talk, language, alif.place, note]",
        **quiet,
    )
    save.then(None, status, js="(said) => alif.flagged(said)", api_visibility="private")
    parts["cancel"].click(None, js="() => alif.close()", api_visibility="private")
    names = [name for name in parts if name != "place"]
    language.change(partial(_switch, chat, names), [talk, language], [parts[n] for n in names], queue=False, **quiet)


def check_password(password: str, share: bool) -> None:
    """Raises UserError where a public link would have no password, or a password is too short to be one."""
    if share and not password:
        raise UserError("--share makes the page public, so it needs a password; add --password, at least 8 characters")
    if password and len(password) < SHORTEST_PASSWORD:
        raise UserError(f"the password has {len(password)} characters; expected at least {SHORTEST_PASSWORD}")


def launch(blocks: Any, port: int = 0, password: str = "", share: bool = False, open_browser: bool = False) -> str:
    """Serve the page on 127.0.0.1 in the background; port 0 takes the first free one from 7860. Returns its address.

    `share`: a public link through gradio's relay as well, never without a password. Raises UserError for a port that is taken.
    """
    check_password(password, share)
    theme = _gradio().themes.Soft(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    css, js = (Path(__file__).with_name(f"chat_page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    where = {"server_name": "127.0.0.1", "server_port": port or None, "share": share, "inbrowser": open_browser}
    look = {"theme": theme, "css": css, "js": js, "footer_links": [], "ssr_mode": False, "quiet": True}
    auth = partial(_is_known, password) if password else None
    try:
        _, address, public = blocks.queue(max_size=16).launch(**where, **look, auth=auth, prevent_thread_lock=True)
    except OSError as error:
        raise UserError(f"port {port or '7860 to 7959'} is taken ({error}); name another with --port") from None
    return public or address


def _is_known(password: str, user: str, given: str) -> bool:
    return user == USER and hmac.compare_digest(given.encode("utf-8"), password.encode("utf-8"))
