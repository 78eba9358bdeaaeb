"""evaluation: who is asked. A subject is a base, a base with an adapter, a merged model, or an OpenAI-compatible endpoint.

In: folders, Hub ids, addresses. Out: the same questions answered through each one's own template, greedily, with one budget.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from alif_kit.core import Config, Run, UserError
from alif_kit.core.records import read_json, stable_id
from alif_kit.evaluation.generate import Answer, answer_all
from alif_kit.evaluation.sets import Item
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import Message, answer_ends, conversation_text, message_text
from alif_kit.model.without_hub import BUILDERS
from alif_kit.platforms import machine
from alif_kit.teacher.client import ChatClient, run_async

OnDone = Callable[[int], None]
ENDPOINT_KEY = "ALIF_ENDPOINT_KEY"
"""Secret for an endpoint that is measured; never the teacher's key, which must not go to another address."""


@dataclass(frozen=True)
class Subject:
    """A model to be measured. `find` gives the folder or Hub id of its weights when they are needed, and not before."""

    name: str
    model: str
    """What people call it: a Hub id, a folder's name, an address."""
    find: Callable[[], str]
    adapter: Path | None = None
    chat_format: str = ""
    """Empty: the model's own template where it has one, else the plain frame."""

    @property
    def is_endpoint(self) -> bool:
        return self.model.startswith(("http://", "https://"))

    def identity(self) -> str:
        """Changes when the weights do: rows of another model must not be taken for this one's."""
        folder = self.adapter or Path(self.model)
        files = sorted(p for p in folder.glob("*") if p.suffix in (".safetensors", ".json", ".jinja")) if folder.is_dir() else []
        return stable_id(self.model, self.chat_format, [(p.name, _digest(p)) for p in files])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_run(run: Run, resolve: Callable[[str], str]) -> list[Subject]:
    """The base of a run and what its finished stages made of it."""
    base, chat_format = run.config.base.model, run.config.base.chat_format
    find = partial(resolve, base)
    subjects = [Subject("base", base, find, None, chat_format)]
    for stage in ("pretrain", "finetune"):
        adapter = run.require(stage, "adapter", stage=stage)
        merged = stage == "finetune" and run.config.lora.after_pretraining == "merge"
        under = (lambda: str(run.require("pretrain", "merged", stage="finetune"))) if merged else find
        subjects.append(Subject(stage, f"{base} + {stage}/adapter", under, adapter, chat_format))
    return subjects


def against(model: str, base: str, resolve: Callable[[str], str]) -> list[Subject]:
    """A base and any model beside it: an adapter's folder (which goes onto that base), a whole model, or `http…/v1#NAME`.

    `resolve` turns a configured name into a folder or Hub id. Raises UserError for an address without a name and, before anything
    is measured, for a model that is certain not to be found.
    """
    return [_subject("base", base, base, resolve), _subject("model", model, base, resolve)]


def _subject(name: str, model: str, base: str, resolve: Callable[[str], str]) -> Subject:
    adapter = Path(model) if (Path(model) / "adapter_config.json").is_file() else None
    subject = Subject(name, model, partial(resolve, base if adapter else model), adapter)
    if subject.is_endpoint and not model.partition("#")[2]:
        raise UserError(f"the endpoint {model} names no model; expected the address, then # and the model's name")
    if not subject.is_endpoint and not _may_be_found(model):
        raise UserError(
            f"the model {model} is not there; expected a folder, a Hub id OWNER/NAME, {', '.join(BUILDERS)}, or http…/v1#NAME"
        )
    return subject


def _may_be_found(model: str) -> bool:
    """A folder, a name that the kit builds, or what looks like a Hub id and like no path on this machine."""
    owner, slash, name = model.partition("/")
    hub_id = slash and "/" not in name and owner not in ("", ".", "..", "~") and not Path(owner).is_dir()
    return Path(model).is_dir() or model in BUILDERS or bool(hub_id)


class Respondent:
    """A subject at work. Its weights are loaded at the first question and dropped by `close`."""

    def __init__(self, subject: Subject, config: Config) -> None:
        self.subject, self.config = subject, config

    @cached_property
    def loaded(self) -> seam.Loaded:
        return seam.load(self.config.base, self.subject.find(), self.subject.adapter)

    @cached_property
    def chat_format(self) -> str:
        return self.subject.chat_format or ("native" if self.loaded.tokenizer.chat_template else "alpaca")

    def answer(self, items: list[Item], on_done: OnDone = lambda count: None) -> list[Answer]:
        """Every item's answer, in their order; `on_done(count)` is called as answers come."""
        if self.subject.is_endpoint:
            return run_async(self._ask_endpoint(items, on_done))
        ends = answer_ends(self.loaded.tokenizer, self.chat_format)
        answers: dict[int, Answer] = {}
        for budget in sorted({item.budget for item in items}):
            chosen = [i for i, item in enumerate(items) if item.budget == budget]
            prompts = [self.prompt(items[i]) for i in chosen]
            size, before = self.config.evaluation.batch_size, len(answers)
            found = answer_all(self.loaded, prompts, budget, size, lambda done, before=before: on_done(before + done), ends)
            answers |= zip(chosen, found, strict=True)
        return [answers[i] for i in range(len(items))]

    def prompt(self, item: Item) -> str:
        """The item in the subject's own frame, up to where its answer begins."""
        messages = [dict(message) for message in item.messages]
        return conversation_text(messages, self.loaded.tokenizer, self.chat_format, self.config.mixture.system)

    async def _ask_endpoint(self, items: list[Item], on_done: OnDone) -> list[Answer]:
        address, _, name = self.subject.model.partition("#")
        free = {"usd_per_million_input": 0.0, "usd_per_million_output": 0.0}  # whoever serves the model knows what it costs
        budget = max(item.budget for item in items)
        teacher = replace(self.config.judge, base_url=address, model=name, temperature=0.0, max_tokens=budget, **free)
        done = itertools.count(1)
        async with ChatClient(teacher, machine.find_secret(ENDPOINT_KEY)) as client:

            async def ask(item: Item) -> Answer:
                reply = await client.chat(self._messages(item), max_tokens=item.budget)
                on_done(next(done))
                return Answer(reply.text.strip(), reply.finish_reason == "stop", reply.completion_tokens)

            return await asyncio.gather(*map(ask, items))

    def _messages(self, item: Item) -> list[Message]:
        system = [{"role": "system", "content": self.config.mixture.system}] if self.config.mixture.system else []
        return system + [{"role": m["role"], "content": message_text(m)} for m in item.messages]

    def close(self) -> None:
        """Give the memory back."""
        if self.__dict__.pop("loaded", None):
            seam.give_back()


def weights_base(model: str) -> str:
    """The base an adapter's folder names: what `--against` is when it is left out. Raises UserError for anything else."""
    saved = Path(model) / "adapter_config.json"
    if not saved.is_file():
        raise UserError(f"--model {model} is no adapter, so its base is unknown; say which base to compare with: --against BASE")
    return str(read_json(saved).get("base_model_name_or_path") or "")
