"""chat: the protocol of whoever answers in a chat, and how a long conversation is made to fit.

In: messages. Out: pieces of an answer, and what the speaker noted down while it made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from alif_kit.core.errors import UserError
from alif_kit.model.chat_format import Message

CONTEXT = 4096
"""Tokens of conversation a local model is loaded for, where it was made for so many: longer ones cost memory on a small card."""


@dataclass
class Usage:
    """What a speaker notes down while it answers. `left_out`: messages that no longer fitted, the oldest ones."""

    tokens: int = 0
    by_itself: bool = False
    left_out: int = 0


class Speaker(Protocol):
    """Whoever answers. `name` is what people are shown."""

    name: str

    def ready(self) -> None:
        """Load what has to be loaded, so that a mistake shows before the first question."""

    def stream(self, messages: list[Message], temperature: float, max_tokens: int, usage: Usage) -> Iterator[str]:
        """The answer in pieces; temperature 0 takes the likeliest token. Raises UserError or StoppedError."""


def fitting(messages: list[Message], count: Callable[[list[Message]], int], room: int) -> tuple[list[Message], int]:
    """The conversation without its oldest turns, so that `count` gives at most `room` tokens, and how many messages went.

    The system line and the last message stay. Raises UserError when they alone are too long.
    """
    head = messages[:1] if messages[0]["role"] == "system" else []
    rest, left_out = messages[len(head) :], 0
    while (size := count(head + rest)) > room and len(rest) > 2:
        rest, left_out = rest[2:], left_out + 2
    if size > room:
        raise UserError(f"the message has {size:,} tokens in its frame, {room:,} fit; shorten it, or ask for a shorter answer")
    return head + rest, left_out
