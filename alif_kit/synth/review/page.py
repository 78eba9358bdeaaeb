"""synth: the page on which a person judges examples one at a time, on this machine only.

In: synth/pool.jsonl, synth/review.jsonl as far as this reviewer judged. Out: synth/review.jsonl, a row appended and fsynced at
each decision. All text of the pool is untrusted: it is escaped before it becomes HTML. Reviewers do not see each other's
decisions, so that their agreement means something. `Desk` is what the page shows and does, without the page; `build` and `launch`
are gradio's; HTML, words, look and keys are in the four files review_page.*.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.records import stable_id
from alif_kit.languages import pack
from alif_kit.languages.text import urdu_purity
from alif_kit.synth.review import decisions
from alif_kit.synth.review.sheet import DECISIONS, PARTS, cells

WORDS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("review_page.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Place:
    """Where a reviewer is: the ids of their selection, fixed until they select anew, and the position in it."""

    ids: tuple[str, ...] = ()
    at: int = 0

    @property
    def id(self) -> str:
        return self.ids[self.at] if self.ids else ""

    def moved(self, by: int) -> Place:
        return Place(self.ids, min(max(self.at + by, 0), max(len(self.ids) - 1, 0)))


class Desk:
    """The pool in a fixed shuffled order, so that the first hundred judged are a fair sample, and what belongs beside it."""

    def __init__(self, run: Run) -> None:
        pool = sorted(decisions.read_pool(run), key=lambda e: stable_id("review", e.id))
        self.run, self.examples = run, {e.id: e for e in pool}
        self.flags = decisions.pool_flags(run, pool)
        self.categories: dict[str, str] = pack.settings(run.config.language)["categories"]
        self.neighbours = decisions.Neighbours(pool, run.config.synth.novelty_threshold)

    def of(self, reviewer: str) -> dict[str, dict[str, Any]]:
        """The last judgement of each example by this reviewer, by id, a sheet imported a moment ago included."""
        return {row["id"]: row for row in decisions.read(self.run) if row["reviewer"] == reviewer.strip()}

    def select(self, reviewer: str, category: str = "", unreviewed: bool = False, flagged: bool = False, keep: str = "") -> Place:
        """The examples that fit, at the one with id `keep` if it is among them."""
        done = self.of(reviewer) if unreviewed else {}
        fit = (e for e in self.examples.values() if category in ("", e.category) and e.id not in done)
        ids = tuple(e.id for e in fit if self.flags[e.id] or not flagged)
        return Place(ids, ids.index(keep) if keep in ids else 0)

    def decide(self, key: str, decision: str, reviewer: str, note: str, new: dict[str, str]) -> None:
        """Judge an example and write it down; `new` maps PARTS to what stands in the edit boxes.

        Raises UserError without an example and as `decisions.judgement` does, OSError when the disk refuses.
        """
        if key not in self.examples:
            raise UserError("no example is on the desk; choose another category or untick a filter")
        language = self.run.config.language
        row = decisions.judgement(self.examples[key], decision, reviewer, note, new, self.neighbours, language)
        decisions.write(self.run, [row])

    def texts(self, key: str) -> dict[str, str]:
        """The parts of an example as the edit boxes show them."""
        shown = cells(self.examples[key]) if key in self.examples else {}
        return {name: shown.get(name, "") for name in PARTS}


@lru_cache
def _html() -> Any:
    """The macros of review_page.html.j2, which escape what they are given."""
    environment = pack.templates(Path(__file__).parent, autoescape=True)
    environment.globals["words"] = WORDS
    environment.tests["latin"] = lambda text: any(map(str.isalpha, text)) and urdu_purity(text) <= 0.5
    return environment.get_template("review_page.html.j2").module


def card(desk: Desk, place: Place, reviewer: str) -> str:
    """HTML of the example at a place, what the reviewer said of it, where it came from and what is nearest to it."""
    if not place.id:
        return _html().nothing()
    example, said, edited = desk.examples[place.id], desk.of(reviewer).get(place.id), {}
    if said and said["edit"]:
        new = cells(decisions.revise(example, said["edit"], desk.run.config.language))
        edited = {name: new[name] for name in said["edit"]}
    judged = desk.texts(example.id), said, edited, desk.neighbours.nearest(example, example.id)
    return _html().card(example, desk.categories[example.category], desk.flags[example.id], *judged)


def progress(desk: Desk, place: Place, reviewer: str) -> str:
    """HTML of how far the reviewer is in the selection."""
    total = len(place.ids)
    return _html().progress(total, len(desk.of(reviewer).keys() & set(place.ids)), place.at + bool(total))


def _show(desk: Desk, at: Place, reviewer: str, status: str = "") -> list[Any]:
    """What stands on the page at a place, in the order of the outputs in `build`."""
    return [at, progress(desk, at, reviewer), card(desk, at, reviewer), status, "", *desk.texts(at.id).values()]


def _choose(desk: Desk, at: Place, reviewer: str, *wanted: Any) -> list[Any]:
    return _show(desk, desk.select(reviewer, *wanted, keep=at.id), reviewer)


def _turn(desk: Desk, by: int, at: Place, reviewer: str, *_: str) -> list[Any]:
    return _show(desk, at.moved(by), reviewer)


def _decide(desk: Desk, decision: str, at: Place, reviewer: str, note: str, *texts: str) -> list[Any]:
    try:
        desk.decide(at.id, decision, reviewer, note, dict(zip(PARTS, texts, strict=True)))
    except (UserError, OSError) as error:
        refused, skip = _html().status("refused", "محفوظ نہیں ہوا", f"not saved: {error}"), _gradio().skip()
        return [skip, skip, skip, refused, skip, *(skip for _ in texts)]
    urdu, english = ("؛ یہ آخری مثال تھی", "; that was the last one") if at.id == at.ids[-1] else ("", "")
    said = _html().status("saved", f"{WORDS['decisions'][decision]}: محفوظ ہو گیا{urdu}", f"saved{english}")
    return _show(desk, at.moved(1), reviewer, said)


def _gradio() -> Any:
    # Before the import, which is when gradio reads it: the page reports to nobody.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError:
        raise UserError("gradio is not installed; install the extra `review` of alif-kit, or use `alif review export`") from None
    return gradio


def build(desk: Desk, reviewer: str = "") -> Any:
    """The gradio page over a desk, not yet launched. Raises UserError when gradio is not installed."""
    gr = _gradio()
    with gr.Blocks(title="alif review", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>مثالوں کی نظرِ ثانی <small>review of the examples</small></h1>")
        place = gr.State(Place())
        filters = _filters(gr, desk, reviewer)
        bar = gr.HTML()
        with gr.Column(elem_id="editor"):
            shape = {"lines": 2, "max_lines": 14, "rtl": True}
            boxes = [gr.Textbox(label=f"{WORDS['parts'][name]} · new {name}", elem_id=f"new-{name}", **shape) for name in PARTS]
            with gr.Row():
                save = gr.Button("ترمیم محفوظ کریں · Save edit  (Ctrl+Enter)", variant="primary", elem_id="save")
                back = gr.Button("اصل متن پر واپس · Back to the original  (Esc)", elem_id="back")
        sheet = gr.HTML(elem_id="card")
        with gr.Column(elem_id="actions"):
            with gr.Row(equal_height=True):
                buttons = {key: gr.Button(text, elem_id=key) for key, text in WORDS["buttons"].items()}
                hint = {"placeholder": "تبصرہ (اختیاری) · Note (optional)", "show_label": False, "container": False}
                note = gr.Textbox(**hint, rtl=True, scale=3, elem_id="note", max_lines=2)
            status = gr.HTML(elem_id="status")
        buttons["edit"].click(None, js="() => alif.edit()", api_visibility="private")
        _wire(page, desk, [place, bar, sheet, status, note, *boxes], {**buttons, "edit": save, "back": back}, filters)
    return page


def _filters(gr: Any, desk: Desk, reviewer: str) -> list[Any]:
    choices = [("سب · all", ""), *((f"{name} · {key}", key) for key, name in desk.categories.items())]
    with gr.Row(elem_id="filters"):
        return [
            gr.Textbox(reviewer, label="آپ کا نام (لازمی) · Your name (required)", rtl=True, elem_id="reviewer", max_lines=1),
            gr.Dropdown(choices, value="", label="قسم · Category", elem_id="category", filterable=False),
            gr.Checkbox(label="صرف باقی مثالیں · Only unreviewed", elem_id="unreviewed", value=True),
            gr.Checkbox(label="صرف نشان زدہ · Only flagged", elem_id="flagged"),
        ]


def _wire(page: Any, desk: Desk, outputs: list[Any], buttons: dict[str, Any], filters: list[Any]) -> None:
    place, _, _, status, note, *boxes = outputs
    # One event at a time, so that a decision is always about the example that stands on the page.
    once = {"concurrency_id": "desk", "concurrency_limit": 1, "api_visibility": "private", "show_progress": "hidden"}
    for event in (page.load, filters[0].submit, filters[0].blur, *(part.input for part in filters[1:])):
        event(partial(_choose, desk), [place, *filters], outputs, **once)
    acts = {key: partial(_turn, desk, by) for key, by in {"previous": -1, "next": 1, "back": 0}.items()}
    acts |= {key: partial(_decide, desk, key) for key in DECISIONS}
    for key, act in acts.items():
        pressed = buttons[key].click(act, [place, filters[0], note, *boxes], outputs, js="(...all) => alif.busy(all)", **once)
        pressed.then(None, status, js="(said) => alif.done(said)", api_visibility="private")


def launch(page: Any, port: int = 0, open_browser: bool = False) -> str:
    """Serve the page on 127.0.0.1 and nowhere else, in the background; port 0 takes the first free one from 7860.

    Returns its address. Raises UserError when the port is taken.
    """
    theme = _gradio().themes.Soft(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    css, js = (Path(__file__).with_name(f"review_page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    where = {"server_name": "127.0.0.1", "server_port": port or None, "share": False, "inbrowser": open_browser}
    look = {"theme": theme, "css": css, "js": js, "footer_links": [], "ssr_mode": False, "quiet": True}
    try:
        _, address, _ = page.launch(**where, **look, prevent_thread_lock=True)
    except OSError as error:
        raise UserError(f"port {port or '7860 to 7959'} is taken ({error}); name another with --port") from None
    return address
