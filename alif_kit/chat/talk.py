"""chat: a conversation, whatever shows it: turns, the base's answers beside the model's, stop, again, and the review file.

In: what a person types, one speaker or two. Out: answers that grow piece by piece; release/flagged.jsonl, a row appended and
fsynced for each answer that a person flags. Nothing else of a conversation is written anywhere.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alif_kit.chat.speech import Speaker, Usage
from alif_kit.core import Run, StoppedError, UserError
from alif_kit.core.records import AppendOnly
from alif_kit.model.chat_format import Message
from alif_kit.release import facts

MODEL, BASE = "model", "base"


@dataclass(frozen=True)
class Wishes:
    """How a person wants to be answered. `beside`: by the base too."""

    system: str = ""
    temperature: float = 0.7
    max_tokens: int = 512
    beside: bool = False


@dataclass
class Answer:
    """One answer, growing. `end`: empty while it grows, then itself, length, stopped or failed; `error` says why it failed."""

    name: str
    text: str = ""
    end: str = ""
    error: str = ""
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)

    @property
    def per_second(self) -> float:
        return self.usage.tokens / self.seconds if self.seconds else 0.0


@dataclass(eq=False)
class Turn:
    """What was asked, how, and the answers by who gave them."""

    asked: str
    wishes: Wishes
    answers: dict[str, Answer] = field(default_factory=dict)


class Talk:
    """One person's conversation. `stop` ends the answer that is being given; set from another thread."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.stop = threading.Event()

    def __deepcopy__(self, memo: dict[int, Any]) -> Talk:
        return Talk()  # gradio copies the first state for every visitor: each begins a conversation of their own

    def ask(self, text: str, wishes: Wishes, speakers: dict[str, Speaker]) -> Iterator[Turn]:
        """Put a message and have it answered; yields the turn as it grows. Raises UserError for an empty message."""
        if not text.strip():
            raise UserError("the message is empty; write something first")
        self.turns.append(Turn(text.strip(), wishes))
        return self._answer(speakers)

    def again(self, wishes: Wishes, speakers: dict[str, Speaker]) -> Iterator[Turn]:
        """Have the last message answered anew, in place of its answers."""
        if not self.turns:
            raise UserError("there is nothing to answer again; write a message first")
        self.turns[-1] = Turn(self.turns[-1].asked, wishes)
        return self._answer(speakers)

    def reset(self) -> None:
        self.stop.set()
        self.turns.clear()

    def messages(self, turn: Turn, who: str) -> list[Message]:
        """The conversation as `who` sees it before answering a turn: its own answers where it gave any, else the model's."""
        said: list[Message] = [{"role": "system", "content": turn.wishes.system.strip()}] if turn.wishes.system.strip() else []
        for earlier in self.turns[: self.turns.index(turn)]:
            answer = earlier.answers.get(who) or earlier.answers[MODEL]
            if answer.text:  # a turn that failed is no part of the conversation
                said += [{"role": "user", "content": earlier.asked}, {"role": "assistant", "content": answer.text}]
        return [*said, {"role": "user", "content": turn.asked}]

    def _answer(self, speakers: dict[str, Speaker]) -> Iterator[Turn]:
        turn = self.turns[-1]
        self.stop.clear()
        # All of them at once, empty, so that the page can lay out the columns before the first word comes.
        turn.answers = {who: Answer(speaker.name) for who, speaker in speakers.items()}
        prompts = {who: self.messages(turn, who) for who in speakers}
        yield turn
        for who, speaker in speakers.items():
            if self.stop.is_set():
                turn.answers[who].end = "stopped"
                continue
            for _ in give(speaker, prompts[who], turn.wishes, turn.answers[who], self.stop):
                yield turn
            yield turn


def give(speaker: Speaker, messages: list[Message], wishes: Wishes, answer: Answer, stop: threading.Event) -> Iterator[None]:
    """Fill an answer piece by piece until it ends, or `stop` is set, or the reader goes away, or it fails, which it notes."""
    started, end = time.monotonic(), "stopped"
    pieces = speaker.stream(messages, wishes.temperature, wishes.max_tokens, answer.usage)
    try:
        for piece in pieces:
            answer.text += piece
            answer.seconds = time.monotonic() - started
            yield
            if stop.is_set():
                break
        else:
            end = "itself" if answer.usage.by_itself else "length"
    except (UserError, StoppedError) as error:
        end, answer.error = "failed", str(error)
    finally:
        pieces.close()
        answer.end, answer.text, answer.seconds = end, answer.text.strip(), time.monotonic() - started


@dataclass(frozen=True)
class Standing:
    """What the page says of the model without flattery: its name, its run, and what the gate found (or `none`)."""

    model: str
    run: str = ""
    verdict: str = "none"
    quantised: bool = False
    """Whether the verdict was found before these weights were quantised."""


def standing(model: str, run: Run | None) -> Standing:
    """`run`: the one whose release the model is, so that a verdict on its adapter is a verdict on it; None for any other model."""
    if run is None:
        return Standing(model)
    return Standing(model, run.path.resolve().name, facts.judged(run)[0], model.endswith(".gguf"))


def flag(path: Path, talk: Talk, number: int, who: str, note: str, lock: threading.Lock) -> None:
    """Append an answer that somebody should look at to the review file. Raises UserError where there is no such answer."""
    if not 0 <= number < len(talk.turns) or who not in talk.turns[number].answers:
        raise UserError("there is no such answer; flag one that stands on the page")
    turn = talk.turns[number]
    answer = turn.answers[who]
    row = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": answer.name,
        "note": note.strip(),
        "messages": talk.messages(turn, who),
        "answer": answer.text,
        "end": answer.end,
        "temperature": turn.wishes.temperature,
    }
    with lock, AppendOnly(path) as rows:
        rows.append(row)
