"""alif_kit: from a language's seed tasks to a tested, chat-ready model on one free T4.

    import alif_kit as ak

    run = ak.Run.open("runs/mine", ak.load_config("smoke"))
    ak.generate(run)    # seeds and a teacher           -> data/train.jsonl, data/eval.jsonl
    ak.pretrain(run)    # running text                  -> pretrain/adapter
    ak.finetune(run)    # the examples                  -> finetune/adapter
    ak.evaluate(run)    # beside its base               -> evaluation/results.json
    ak.gate(run)        # is it worse than its base?    -> evaluation/gate.json
    ak.ask(run, "...")  # what it answers, and its base
    ak.merge(run), ak.gguf(run), ak.card(run)           -> release/
    ak.fit("gemma-270m", ["ur", "en"], folder)  # a base without the vocabulary of other languages
    ak.plan(run.config) # memory, hours, words and dollars, before anything loads

Each stage reads files of the run folder and writes files into it; killed and called again, it goes on. The rooms, from the top;
each may use those under it, none on its own floor:

    notebook      what a lesson calls             cli           `alif <stage>`
    pipeline      the stages in order: the calls above
    report        report.html and its parts
    quantisation  what fewer bits cost            training      the two stages of training
    chat          speakers, terminal, page, serve
    evaluation    measures, judge, gate           release       merge, GGUF, cards, the Hub
    planner       memory, speed, cost             fitting       a vocabulary that fits the languages
    synth         seeds -> teacher -> data        corpus        running text -> blocks
    model         the seam to Unsloth, chat formats, bases that need no hub
    teacher       client, limits, batch, prices   languages     packs, and all code that knows a language
    platforms     Colab, Kaggle, here: detect, install, mirror, doctor
    core          config, run folder, records, errors, progress, statistics

Importing this package imports nothing heavy: the calls are looked up when they are used, torch and unsloth load inside them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alif_kit.core.config import load as load_config
    from alif_kit.core.run import Run
    from alif_kit.pipeline import ask, card, evaluate, finetune, fit, gate, generate, gguf, merge, plan, pretrain

__version__ = "0.1.0"


def hands_on(room: str, **places: str) -> Callable[[str], Any]:
    """A `__getattr__` for a room, so that a name is imported when it is first used (PEP 562).

    `places`: where each name stands under the room, `Run="core.run"`, or under another name, `load_config="core.config:load"`.
    """

    def look_up(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        module, _, other = places[name].partition(":")
        return getattr(importlib.import_module(f"{room}.{module}"), other or name)

    return look_up


__all__ = [
    "Run",
    "load_config",
    "generate",
    "pretrain",
    "finetune",
    "evaluate",
    "gate",
    "ask",
    "merge",
    "gguf",
    "card",
    "plan",
    "fit",
]
_STAGES = __all__[2:]
__getattr__ = hands_on(__name__, load_config="core.config:load", Run="core.run", **dict.fromkeys(_STAGES, "pipeline"))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
