"""synth: the page on which a person judges examples one at a time, on this machine only.

In: synth/pool.jsonl, a reviewer's decisions. Out: synth/review.jsonl, a row appended and fsynced at each decision. All text of the
pool is untrusted: it is escaped before it becomes HTML. Reviewers do not see each other's decisions, so that their agreement
means something. `Desk` is the page without the page; `build` is the only user of gradio.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from alif_kit import pack
from alif_kit.errors import UserError
from alif_kit.records import AppendOnly, Example, SeedTask, stable_id
from alif_kit.run_folder import Run
from alif_kit.synth import review
from alif_kit.synth.novelty import PAYLOAD_TOKENS
from alif_kit.text import comparison_tokens, urdu_purity

PART_NAMES = {"instruction": "ہدایت", "input": "مواد", "labels": "زمرے", "output": "جواب"}
DECISION_NAMES = {"accept": "قبول", "edit": "ترمیم", "reject": "مسترد"}
FLAG_NAMES = dict(
    zip(review.FLAGS, ("ملتی جلتی", "غیر معمولی طوالت", "ملی جلی لکھائی", "جواب حساب سے مختلف", "زمرہ بتایا نہیں گیا"), strict=True)
)


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
    """The pool in a fixed shuffled order, so that the first hundred judged are a fair sample, and the judgements so far."""

    def __init__(self, run: Run) -> None:
        pool = sorted(review.read_pool(run), key=lambda e: stable_id("review", e.id))
        self.run, self.examples = run, {e.id: e for e in pool}
        self.flags = review.pool_flags(run, pool)
        self.seeds: dict[str, SeedTask] = {s.id: s for tasks in pack.seeds(run.config.language).values() for s in tasks}
        self.neighbours = Neighbours(pool)
        self.said: dict[str, dict[str, dict[str, Any]]] = {}
        for row in review.read(run):
            self._remember(row)

    def _remember(self, row: dict[str, Any]) -> None:
        self.said.setdefault(row["reviewer"], {})[row["id"]] = row

    def of(self, reviewer: str) -> dict[str, dict[str, Any]]:
        """The last judgement of each example by this reviewer, by id."""
        return self.said.get(reviewer.strip(), {})

    def select(self, reviewer: str, category: str = "", unreviewed: bool = False, flagged: bool = False, keep: str = "") -> Place:
        """The examples that fit, at the one with id `keep` if it is among them."""
        done = self.of(reviewer) if unreviewed else {}
        fit = (e for e in self.examples.values() if category in ("", e.category) and e.id not in done)
        ids = tuple(e.id for e in fit if self.flags[e.id] or not flagged)
        return Place(ids, ids.index(keep) if keep in ids else 0)

    def decide(self, key: str, decision: str, reviewer: str, note: str, new: dict[str, str]) -> None:
        """Judge an example and write it down. Raises UserError as `review.judgement` does, OSError when the disk refuses."""
        if key not in self.examples:
            raise UserError("no example is on the desk; choose another category or untick a filter")
        row = review.judgement(self.examples[key], decision, reviewer, note, new)
        # Opened anew each time: `alif review import` may have put another file in its place meanwhile.
        with AppendOnly(self.run.file("synth", "review.jsonl")) as journal:
            journal.append(row)
        self._remember(row)

    def texts(self, key: str) -> dict[str, str]:
        """The parts of an example as the edit boxes show them."""
        example = self.examples.get(key)
        cells = review.cells(example) if example else {}
        return {name: cells.get(name, "") for name in review.PARTS}


class Neighbours:
    """Nearest examples of a pool by ROUGE-L F1, compared as novelty does: payload with payload, whole task with whole task."""

    def __init__(self, pool: list[Example]) -> None:
        self._codes: dict[str, str] = {}
        self._texts: dict[bool, dict[str, str]] = {True: {}, False: {}}
        for example in pool:
            kind, text = self._encode(example)
            self._texts[kind][example.id] = text

    def _encode(self, example: Example) -> tuple[bool, str]:
        """Whether the payload is compared, and its tokens, a character for each."""
        payload = comparison_tokens(example.input)
        whole = len(payload) < PAYLOAD_TOKENS
        tokens = comparison_tokens(example.instruction) + payload if whole else payload
        return not whole, "".join(self._codes.setdefault(t, chr(0x10000 + len(self._codes))) for t in tokens)

    def nearest(self, example: Example, count: int = 3) -> list[tuple[float, str]]:
        """(F1, id) of the `count` nearest others, best first."""
        from rapidfuzz.distance import Indel
        from rapidfuzz.process import extract

        kind, text = self._encode(example)
        # 1 - (insertions + deletions) / (both lengths) is 2 LCS / (both lengths), the F1 of ROUGE-L.
        found = extract(text, self._texts[kind], scorer=Indel.normalized_similarity, limit=count + 1)
        return [(score, key) for _, score, key in found if key != example.id and score > 0][:count]


def _text(text: str) -> str:
    """A block of untrusted text in its own direction: mostly Latin letters run left to right."""
    latin = any(map(str.isalpha, text)) and urdu_purity(text) <= 0.5
    return f'<div class="text" dir="{"ltr" if latin else "rtl"}" lang="{"en" if latin else "ur"}">{escape(text)}</div>'


def _part(name: str, text: str) -> str:
    return f"<h3>{PART_NAMES[name]} <small>{name}</small></h3>{_text(text)}" if text else ""


def card(desk: Desk, place: Place, reviewer: str) -> str:
    """HTML of the example at a place, what the reviewer said of it, where it came from and what is nearest to it."""
    if not place.id:
        return '<div class="nothing">اس انتخاب میں کوئی مثال نہیں<br><small>nothing fits this selection</small></div>'
    example = desk.examples[place.id]
    category = pack.settings(desk.run.config.language)["categories"][example.category]
    chips = f'<b class="chip">{escape(category)} <small>{example.category}</small></b>'
    chips += "".join(f'<b class="chip flag">⚑ {FLAG_NAMES[f]} <small>{f}</small></b>' for f in desk.flags[example.id])
    said = desk.of(reviewer).get(example.id)
    if said:
        chips += f'<b class="chip said">آپ کا فیصلہ: {DECISION_NAMES[said["decision"]]} <small>{said["decision"]}</small></b>'
    parts = "".join(_part(name, text) for name, text in desk.texts(example.id).items())
    edit = review.cells(review.revise(example, said["edit"])) if said and said["edit"] else {}
    edited = "".join(_part(name, edit[name]) for name in review.PARTS if edit and name in said["edit"])
    mine = f'<div class="edited"><h2>آپ کی ترمیم <small>your edit</small></h2>{edited}</div>' if edited else ""
    body = f'<article data-id="{example.id}"><p>{chips}</p>{parts}{mine}</article>'
    return f'<div class="desk">{body}<aside>{_nearest(desk, example)}{_origin(desk, example)}</aside></div>'


def _nearest(desk: Desk, example: Example) -> str:
    rows = ""
    for score, key in desk.neighbours.nearest(example):
        other = desk.examples[key]
        rows += f'<li><span class="score">{score:.2f}</span>{_text(other.input or other.instruction)}{_text(other.output)}</li>'
    empty = "<p>کوئی ملتی جلتی مثال نہیں <small>none</small></p>"
    return f"<h2>ملتی جلتی مثالیں <small>nearest in the pool, ROUGE-L</small></h2><ul>{rows}</ul>{'' if rows else empty}"


def _origin(desk: Desk, example: Example) -> str:
    origin = example.provenance
    facts = {
        "استاد <small>teacher</small>": origin.teacher,
        "درخواست <small>request, item</small>": f"{origin.request}, {origin.item}",
        "قریب ترین مماثلت <small>novelty score</small>": origin.scores.get("nearest_rouge_l", "–"),
        "مشینی نمونے <small>machine examples shown</small>": len(origin.machine_shown),
        "شناخت <small>id</small>": example.id,
    }
    rows = "".join(f'<dt>{name}</dt><dd dir="ltr">{escape(str(value))}</dd>' for name, value in facts.items())
    shown = [desk.seeds[key].instruction if key in desk.seeds else key for key in origin.seeds_shown]
    seeds = "".join(f"<li>{_text(text)}</li>" for text in shown)
    label = f"دکھائے گئے نمونے <small>seeds shown: {len(shown)}</small>"
    return f"<h2>ماخذ <small>provenance</small></h2><dl>{rows}</dl><details><summary>{label}</summary><ul>{seeds}</ul></details>"


def progress(desk: Desk, place: Place, reviewer: str) -> str:
    """HTML of how far the reviewer is in the selection."""
    total, mine = len(place.ids), desk.of(reviewer)
    done = sum(key in mine for key in place.ids)
    english = f"{done} of {total} judged · example {place.at + bool(total)} of {total}"
    bar = f'<progress max="{max(total, 1)}" value="{done}"></progress>'
    return f'<div class="progress">{total} میں سے {done} پر فیصلہ ہو چکا <small>{english}</small>{bar}</div>'


def _status(urdu: str, english: str, kind: str = "saved") -> str:
    return f'<div class="{kind}" role="status">{urdu} <small dir="ltr">{escape(english)}</small></div>'


def build(desk: Desk, reviewer: str = "") -> Any:
    """The gradio page over a desk, not yet launched. Raises UserError when gradio is not installed."""
    gr = _gradio()
    with gr.Blocks(title="alif review", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>مثالوں کی نظرِ ثانی <small>review of the examples</small></h1>")
        place = gr.State(Place())
        filters = _filters(gr, desk, reviewer)
        bar = gr.HTML()
        with gr.Column(elem_id="editor"):
            boxes = [_box(gr, name) for name in review.PARTS]
            with gr.Row():
                save = gr.Button("ترمیم محفوظ کریں · Save edit  (Ctrl+Enter)", variant="primary", elem_id="save")
                back = gr.Button("اصل متن پر واپس · Back to the original  (Esc)", elem_id="back")
        sheet = gr.HTML(elem_id="card")
        with gr.Column(elem_id="actions"):
            with gr.Row(equal_height=True):
                buttons = _buttons(gr)
                hint = "تبصرہ (اختیاری) · Note (optional)"
                note = gr.Textbox(
                    placeholder=hint, show_label=False, container=False, rtl=True, scale=3, elem_id="note", max_lines=2
                )
            status = gr.HTML(elem_id="status")
            gr.HTML(KEYS)
        _wire(page, desk, [place, bar, sheet, status, note, *boxes], {**buttons, "edit": save, "back": back}, filters)
    return page


def _box(gr: Any, name: str) -> Any:
    label = f"{PART_NAMES[name]} · new {name}"
    return gr.Textbox(label=label, lines=1 if name == "labels" else 2, max_lines=14, rtl=True, elem_id=f"new-{name}")


def _gradio() -> Any:
    # Before the import, which is when gradio reads it: the page reports to nobody.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError:
        raise UserError("gradio is not installed; install the extra `review` of alif-kit, or use `alif review export`") from None
    return gradio


def _filters(gr: Any, desk: Desk, reviewer: str) -> list[Any]:
    names = pack.settings(desk.run.config.language)["categories"]
    choices = [("سب · all", ""), *((f"{name} · {key}", key) for key, name in names.items())]
    with gr.Row(elem_id="filters"):
        return [
            gr.Textbox(reviewer, label="آپ کا نام (لازمی) · Your name (required)", rtl=True, elem_id="reviewer", max_lines=1),
            gr.Dropdown(choices, value="", label="قسم · Category", elem_id="category", filterable=False),
            gr.Checkbox(label="صرف باقی مثالیں · Only unreviewed", elem_id="unreviewed", value=True),
            gr.Checkbox(label="صرف نشان زدہ · Only flagged", elem_id="flagged"),
        ]


def _buttons(gr: Any) -> dict[str, Any]:
    shown = {
        "previous": gr.Button("پچھلی · Previous", elem_id="previous"),
        "accept": gr.Button("قبول · Accept", elem_id="accept"),
        "open": gr.Button("ترمیم · Edit", elem_id="edit"),
        "reject": gr.Button("مسترد · Reject", elem_id="reject"),
        "next": gr.Button("اگلی · Next", elem_id="next"),
    }
    shown.pop("open").click(None, js="() => alif.edit()", api_visibility="private")
    return shown


def _wire(page: Any, desk: Desk, outputs: list[Any], buttons: dict[str, Any], filters: list[Any]) -> None:
    place, _, _, status, note, *boxes = outputs
    # One event at a time, so that a decision is always about the example that stands on the page.
    once = {"concurrency_id": "desk", "concurrency_limit": 1, "api_visibility": "private", "show_progress": "hidden"}

    def show(at: Place, reviewer: str, said: str = "") -> list[Any]:
        return [at, progress(desk, at, reviewer), card(desk, at, reviewer), said, "", *desk.texts(at.id).values()]

    def choose(at: Place, reviewer: str, *wanted: Any) -> list[Any]:
        return show(desk.select(reviewer, *wanted, keep=at.id), reviewer)

    def move(by: int, at: Place, reviewer: str) -> list[Any]:
        return show(at.moved(by), reviewer)

    def decide(decision: str, gr_skip: Callable[[], Any], at: Place, reviewer: str, remark: str, *texts: str) -> list[Any]:
        try:
            desk.decide(at.id, decision, reviewer, remark, dict(zip(review.PARTS, texts, strict=True)))
        except (UserError, OSError) as error:
            said = _status("محفوظ نہیں ہوا", f"not saved: {error}", "refused")
            return [said if part is status else gr_skip() for part in outputs]
        last = at.at + 1 == len(at.ids)
        words = ("محفوظ ہو گیا؛ یہ آخری مثال تھی", "saved; that was the last one") if last else ("محفوظ ہو گیا", "saved")
        return show(at.moved(1), reviewer, _status(f"{DECISION_NAMES[decision]}: {words[0]}", words[1]))

    name, skip = filters[0], _gradio().skip
    for event in (page.load, name.submit, name.blur, *(part.input for part in filters[1:])):
        event(choose, [place, *filters], outputs, **once)
    for key, by in {"previous": -1, "next": 1, "back": 0}.items():
        buttons[key].click(partial(move, by), [place, name], outputs, js="(...all) => alif.busy(all)", **once).then(
            None, status, js="(said) => alif.done(said)", api_visibility="private"
        )
    for key in review.DECISIONS:
        given = [place, name, note, *boxes]
        buttons[key].click(partial(decide, key, skip), given, outputs, js="(...all) => alif.busy(all)", **once).then(
            None, status, js="(said) => alif.done(said)", api_visibility="private"
        )


def launch(page: Any, port: int = 0, open_browser: bool = False) -> str:
    """Serve the page on 127.0.0.1 and nowhere else, in the background; port 0 takes the first free one from 7860.

    Returns its address. Raises UserError when the port is taken.
    """
    gr = _gradio()
    theme = gr.themes.Soft(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    where = {"server_name": "127.0.0.1", "server_port": port or None, "share": False, "inbrowser": open_browser}
    look = {"theme": theme, "css": CSS, "js": SCRIPT, "footer_links": [], "ssr_mode": False, "quiet": True}
    try:
        _, address, _ = page.launch(**where, **look, prevent_thread_lock=True)
    except OSError as error:
        raise UserError(f"port {port or '7860 to 7959'} is taken ({error}); name another with --port") from None
    return address


KEYS = """<p class="keys"><kbd>A</kbd> قبول <small>accept</small> <kbd>E</kbd> ترمیم <small>edit</small>
<kbd>R</kbd> مسترد <small>reject</small> <kbd>N</kbd> <kbd>←</kbd> اگلی <small>next</small>
<kbd>P</kbd> <kbd>→</kbd> پچھلی <small>previous</small> <kbd>Ctrl+Enter</kbd> ترمیم محفوظ <small>save the edit</small>
<kbd>Esc</kbd> خانے سے باہر <small>leave a box</small></p>"""
NASTALIQ = '"Noto Nastaliq Urdu", "Jameel Noori Nastaleeq", "Urdu Typesetting", "Noto Naskh Arabic", serif'
CSS = """
body { --green: #0f766e; --red: #b91c1c; --amber: #b45309; --line: #cbd5e1 }
.gradio-container { max-width: 1500px !important; margin: 0 auto !important; padding-bottom: 11rem !important }
.gradio-container .html-container, .gradio-container .prose { direction: rtl; text-align: right }
h1, h2, h3, .chip, .progress, #status, summary, dt, .nothing, .keys { font-family: NASTALIQ; line-height: 2.2 }
label span, button, #filters span, #filters input { font-family: NASTALIQ !important; line-height: 2.2 !important }
label span, button, #editor textarea, #note textarea { unicode-bidi: plaintext; text-align: start }
#filters { align-items: center } #filters span, #editor label > span { background: none; color: #475569; padding: 0 }
small, kbd, dd, .score { font-family: system-ui, sans-serif; line-height: 1.4 }
small { font-size: .78rem; font-weight: 400; color: #64748b; direction: ltr; unicode-bidi: isolate }
h1 { font-size: 1.5rem !important; margin: 0 !important }
h2 { font-size: 1.05rem !important; margin: .6rem 0 .3rem !important }
h3 { font-size: .95rem !important; margin: .6rem 0 0 !important; color: var(--green) !important }
.text, #editor textarea, #note textarea, #reviewer textarea, #reviewer input { font-family: NASTALIQ; line-height: 2.2 !important }
.text, #editor textarea { font-size: 1.12rem } .text { white-space: pre-wrap; overflow-wrap: anywhere }
.text[dir=ltr] { font-family: system-ui, sans-serif; line-height: 1.7 !important; text-align: left }
.desk { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: 1rem; align-items: start }
.desk > * { border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1.2rem; background: #fff }
aside .text { font-size: .92rem } aside ul { padding: 0 !important; margin: 0 !important }
aside li { border-top: 1px solid #e2e8f0; padding: .4rem 0; list-style: none; margin: 0 !important }
.edited { border-right: 4px solid var(--green); padding-right: .8rem; margin-top: .8rem }
.chip { display: inline-block; background: #e2e8f0; color: #1f2933; border-radius: .5rem; padding: 0 .7rem; font-weight: 400 }
.chip { margin-left: .4rem } .chip.flag { background: #fef3c7 } .chip.said { background: #ccfbf1 }
.score { float: left; color: var(--amber); font-weight: 600 } summary { cursor: pointer }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; margin: 0 } dd { margin: 0; text-align: left; align-self: center }
progress { display: block; width: 100%; height: .5rem; appearance: none; border: 0; border-radius: .3rem; background: #e2e8f0 }
progress::-webkit-progress-bar { background: #e2e8f0; border-radius: .3rem }
progress::-webkit-progress-value { background: var(--green); border-radius: .3rem }
progress::-moz-progress-bar { background: var(--green) }
#editor { display: none; border: 2px solid var(--amber); border-radius: .6rem; padding: .6rem }
#editor.open { display: flex } #editor .form { display: grid; grid-template-columns: 1fr 1fr; background: none }
#filters * { direction: rtl } #filters span, #filters input { text-align: right }
#actions { position: fixed; inset: auto 0 0 0; z-index: 20; background: #fff; border-top: 1px solid var(--line); gap: .3rem }
#actions { padding: .3rem max(1rem, (100vw - 1450px) / 2) .2rem; box-shadow: 0 -4px 16px #0f172a1a }
#actions button { min-width: 6rem } #actions.busy button { pointer-events: none; opacity: .6 }
#actions button { padding: 0 .8rem; font-size: 1rem }
#status { position: absolute; left: 1rem; bottom: .2rem; width: auto; max-width: 75%; background: #fff }
#accept { background: var(--green); color: #fff } #reject { background: var(--red); color: #fff }
#edit { background: var(--amber); color: #fff } .keys { margin: 0; font-size: .85rem }
.saved { color: var(--green) } .refused { color: var(--red); font-weight: 600 } .refused small { color: inherit; font-size: .9rem }
kbd { border: 1px solid var(--line); border-radius: .3rem; padding: 0 .4rem; margin-right: .9rem } kbd + kbd { margin-right: 0 }
.nothing { text-align: center; padding: 4rem }
@media (max-width: 800px) { .desk, #editor .form { grid-template-columns: 1fr } .keys { display: none } }
""".replace("NASTALIQ", NASTALIQ)
# Letters go by the key's place where the layout is not Latin: with an Urdu keyboard the A key types ا.
SCRIPT = """() => {
  const page = document.documentElement, find = (id) => document.getElementById(id);
  page.dir = 'rtl'; page.lang = 'ur'; document.body.classList.remove('dark');
  const writing = (e) => e.target.closest('textarea, input:not([type=checkbox]), [contenteditable], [role=listbox]');
  window.alif = {
    busy: (all) => { find('actions').classList.add('busy'); return all; },
    done: (said) => { find('actions').classList.remove('busy'); if (!String(said).includes('class="refused"')) alif.turn(); },
    turn: () => { alif.leave(); window.scrollTo(0, 0); },
    leave: () => { find('editor').classList.remove('open'); document.activeElement?.blur(); },
    edit: () => {
      if (!document.querySelector('[data-id]')) return;
      find('editor').classList.add('open');
      const box = find('new-output').querySelector('textarea');
      find('editor').scrollIntoView({block: 'start'}); box.focus({preventScroll: true});
    },
  };
  const keys = {a: 'accept', r: 'reject', e: 'edit', n: 'next', p: 'previous', arrowleft: 'next', arrowright: 'previous'};
  document.addEventListener('keydown', (e) => {
    const editing = find('editor').classList.contains('open'), busy = find('actions').classList.contains('busy');
    if (e.key === 'Escape') return editing ? find('back').click() : alif.leave();
    if (e.key === 'Enter' && e.ctrlKey && editing) return find('save').click();
    if (e.key === 'Enter' && e.target.closest('#reviewer')) return e.target.blur();
    if (writing(e) || e.ctrlKey || e.altKey || e.metaKey || e.repeat || busy) return;
    const key = /^[a-z]$/i.test(e.key) || e.key.startsWith('Arrow') ? e.key : e.code.replace('Key', '');
    const id = keys[key.toLowerCase()];
    if (id) { e.preventDefault(); find(id).click(); }
  });
}"""
