"""chat: the chat page's HTML. All text of models and people is untrusted: it becomes text, never markup of its own.

In: a conversation, the texts of a language. Out: HTML. Answers may use Markdown for emphasis, lists, tables and code; HTML in them
is shown as it was written, and links and images are left as text, so that no answer makes a browser load anything.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from alif_kit.chat.talk import BASE, MODEL, Answer, Standing, Talk
from alif_kit.languages import pack
from alif_kit.languages.text import urdu_purity


@dataclass(frozen=True)
class Texts:
    """What the page says in one language, and its examples by category, under their names in that language."""

    language: str
    say: dict[str, str]
    examples: dict[str, list[str]]


@lru_cache
def texts(pack_language: str) -> dict[str, Texts]:
    """The interfaces that a language pack has, its own language first; Urdu's, which its neighbours read, for one without."""
    path = pack.folder(pack_language) / "chat.toml"
    if not path.is_file():
        return texts("ur")
    held, settings = tomllib.loads(path.read_text("utf-8")), pack.settings(pack_language)
    names = {settings["code"]: settings["categories"], **held["categories"]}
    return {
        language: Texts(language, say, {names[language][key]: prompts for key, prompts in held["examples"].items()})
        for language, say in held["interface"].items()
    }


def direction(text: str) -> str:
    """`rtl` unless the text has letters and most of them are Latin: an Urdu sentence may well begin with an English name."""
    return "ltr" if any(map(str.isalpha, text)) and urdu_purity(text) <= 0.5 else "rtl"


def _marked(text: str) -> str:
    """Attributes of a block in its own direction and language."""
    side = direction(text)
    return f'dir="{side}" lang="{"en" if side == "ltr" else "ur"}"'


@lru_cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    without = ["image", "link", "autolink", "reference", "html_inline", "html_block", "code"]
    return MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable(without)


def markup(text: str) -> str:
    """An answer as HTML: Markdown's shapes, every block in its own direction, everything else escaped.

    `"<b>a</b> **b**"` → `'<p dir="ltr">&lt;b&gt;a&lt;/b&gt; <strong>b</strong></p>\\n'`
    """
    tokens = _markdown().parse(text)
    for number, token in enumerate(tokens):
        if token.nesting == 1 and token.block:
            inside = next((t.content for t in tokens[number:] if t.type == "inline"), "")
            token.attrSet("dir", direction(inside))
    return _markdown().renderer.render(tokens, _markdown().options, {})


def past(talk: Talk, page: Texts) -> str:
    """Every turn but the last."""
    return "".join(_turn(talk, number, page) for number in range(len(talk.turns) - 1))


def now(talk: Talk, page: Texts) -> str:
    """The last turn, which may be growing; the examples before there is one."""
    return _turn(talk, len(talk.turns) - 1, page) if talk.turns else _examples(page)


def _turn(talk: Talk, number: int, page: Texts) -> str:
    turn = talk.turns[number]
    you = f'<span class="unseen">{page.say["you"]}: </span>'
    asked = f'<div class="asked">{you}{_lines(turn.asked)}</div>'
    two = len(turn.answers) > 1
    answers = "".join(_answer(answer, number, who, page, two) for who, answer in turn.answers.items())
    return f'<article class="turn">{asked}<div class="answers{" two" if two else ""}">{answers}</div></article>'


def _answer(answer: Answer, number: int, who: str, page: Texts, two: bool) -> str:
    say = page.say
    kind = say[BASE if who == BASE else MODEL]
    name = escape(f"{kind}: {answer.name}")
    title = f'<h3>{kind} <small dir="ltr">{escape(answer.name)}</small></h3>' if two else ""
    if answer.text:
        body = f'<div class="text" {_marked(answer.text)}>{markup(answer.text)}</div>'
    else:
        body = f'<p class="waiting">{say["empty"]}</p>' if answer.end in ("itself", "length") else ""
    if not answer.end:
        body += f'<p class="growing"><i></i><i></i><i></i><span class="unseen">{say["writing"]}</span></p>'
    error = f'<p class="failed">{say["failed_end"]} <small dir="ltr">{escape(answer.error)}</small></p>' if answer.error else ""
    tools = _tools(answer, number, who, say) if answer.end else ""
    return f'<section class="answer {who}" aria-label="{name}">{title}{body}{error}{tools}</section>'


def _tools(answer: Answer, number: int, who: str, say: dict[str, str]) -> str:
    """Copy, flag, and how the answer ended; the raw text lies in an attribute, for copying."""
    facts = [say["stats"].format(tokens=answer.usage.tokens, rate=f"{answer.per_second:.1f}")] if answer.usage.tokens else []
    facts += [say[f"{answer.end}_end"]] if answer.end in ("length", "stopped") else []
    facts += [say["left_out"].format(count=answer.usage.left_out)] if answer.usage.left_out else []
    buttons = f'<button type="button" class="copy" data-raw="{escape(answer.text)}">{say["copy"]}</button>'
    buttons += f'<button type="button" class="flag" data-turn="{number}" data-who="{who}">⚑ {say["flag"]}</button>'
    said = "".join(f"<small>{escape(fact)}</small>" for fact in facts)
    return f'<p class="tools">{buttons if answer.text else ""}{said}</p>'


def _examples(page: Texts) -> str:
    groups = "".join(
        f'<section class="group"><h3>{escape(name)}</h3>' + "".join(map(_example, prompts)) + "</section>"
        for name, prompts in page.examples.items()
    )
    return f'<div class="examples"><h2>{page.say["examples"]}</h2><div class="groups">{groups}</div></div>'


def _example(prompt: str) -> str:
    shown = _lines(prompt.replace("\n\n", "\n"))
    return f'<button type="button" class="example" data-prompt="{escape(prompt)}">{shown}</button>'


def _lines(text: str) -> str:
    """What a person typed, each line in its own direction: a question in Urdu and under it a sentence in English."""
    return "".join(f'<span class="line" {_marked(line)}>{escape(line)}</span>' for line in text.split("\n"))


def header(model: str, page: Texts) -> str:
    """The heading; by its attributes the page knows its own language and direction."""
    say = page.say
    known = f'lang="{page.language}" dir="{say["direction"]}" data-conversation="{escape(say["conversation"])}"'
    return f'<h1 {known}>{say["title"]} <small dir="ltr">{escape(model)}</small></h1>'


def footer(of: Standing, page: Texts) -> str:
    """Model, run, what the gate found, and what to beware of."""
    say = page.say
    verdict = f'<b class="verdict {of.verdict}">{say[of.verdict]}</b>'
    if of.quantised and of.verdict != "none":
        verdict += f" {say['quantised']}"
    run = f'<bdi dir="ltr">{escape(of.run)}</bdi>' if of.run else say["no_run"]
    facts = f'<span>{say["model"]}: <bdi dir="ltr">{escape(of.model)}</bdi></span>'
    facts += f"<span>{say['run']}: {run}</span><span>{say['gate']}: {verdict}</span>"
    return f'<div class="footer"><p class="facts">{facts}</p><p>{say["caution"]}</p></div>'


def status(kind: str, text: str, detail: str = "") -> str:
    small = f' <small dir="ltr">{escape(detail)}</small>' if detail else ""
    return f'<div class="{kind}">{escape(text)}{small}</div>'
