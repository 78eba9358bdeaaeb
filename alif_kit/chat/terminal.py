"""chat: the chat in a terminal, as right-to-left as a terminal goes.

In: lines from stdin, a speaker. Out: its answers as they are made, a line of figures after each. Lines that begin with an Urdu
letter are put into bidi isolates where stdout is a terminal, which one that knows bidi shows from the right; a file or a pipe gets
the bare text. Control characters in an answer are left out: a model's text must not steer the terminal.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import TextIO

from alif_kit.chat.speech import Speaker
from alif_kit.chat.talk import MODEL, Answer, Talk, Wishes

RIGHT_TO_LEFT, END_OF_ISOLATE = "\u2067", "\u2069"
HELP = "/reset forgets the conversation, /system TEXT sets the system line, /exit leaves; Ctrl-C stops an answer"


class Isolating:
    """A stream of pieces in which each line that begins right to left becomes one isolate.

    `"سلام\\nHi"` → `"\\u2067سلام\\u2069\\nHi"`, however it is cut into pieces.
    """

    def __init__(self, on: bool) -> None:
        self.on, self.held, self.open, self.known = on, "", False, False

    def feed(self, piece: str) -> str:
        return "".join(map(self._char, printable(piece)))

    def _char(self, char: str) -> str:
        if not self.on:
            return char
        if char == "\n":
            return self.end() + char
        if self.known:
            return char
        side = unicodedata.bidirectional(char)
        self.held += char
        if side not in ("L", "R", "AL"):  # digits and punctuation do not say which way a line runs
            return ""
        self.known, self.open = True, side != "L"
        held, self.held = self.held, ""
        return (RIGHT_TO_LEFT if self.open else "") + held

    def end(self) -> str:
        """What is owed at the end of a line."""
        owed = self.held + (END_OF_ISOLATE if self.open else "")
        self.held, self.open, self.known = "", False, False
        return owed


def printable(text: str) -> str:
    """Text without control characters (escape sequences begin with one) and without bidi controls of its own."""
    kept = (c for c in text if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return "".join(kept)


def converse(speaker: Speaker, wishes: Wishes, out: TextIO | None = None) -> None:
    """Read, answer, and again, until /exit or the end of the input."""
    out = out or sys.stdout
    talk = Talk()
    print(HELP, file=out)
    for line in _lines(out):
        word, _, rest = line.partition(" ")
        if word == "/exit":
            return
        if word == "/reset":
            talk.reset()
            print("(the conversation is forgotten)", file=out)
        elif word == "/system":
            wishes = replace(wishes, system=rest.strip())
            print("(the system line is set)" if wishes.system else "(the system line is empty)", file=out)
        elif line.startswith("/"):
            print(HELP, file=out)
        elif line.strip():
            reply(talk, line, wishes, speaker, out)


def _lines(out: TextIO) -> Iterator[str]:
    """The person's lines. Ctrl-C gives up a half-written one, Ctrl-D ends."""
    with suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and earlier lines, where there is such a thing
    while True:
        try:
            yield input("› " if sys.stdin.isatty() else "")
        except KeyboardInterrupt:
            print("\n(/exit leaves)", file=out)
        except EOFError:
            return


def reply(talk: Talk, line: str, wishes: Wishes, speaker: Speaker, out: TextIO) -> None:
    """One answer, printed as it is made, with its figures. Ctrl-C ends it and nothing else."""
    isolating, shown = Isolating(out.isatty()), 0
    # Interrupted, the answer itself notes that it was stopped.
    with suppress(KeyboardInterrupt), closing(talk.ask(line, wishes, {MODEL: speaker})) as growing:
        for turn in growing:
            text = turn.answers[MODEL].text
            print(isolating.feed(text[shown:]), end="", flush=True, file=out)
            shown = max(shown, len(text))
    print(isolating.end(), file=out)
    print(figures(talk.turns[-1].answers[MODEL]), file=out)


def figures(answer: Answer) -> str:
    """`"(12 tokens, 8.0 tokens/s)"`, and how the answer ended where it did not end by itself."""
    ends = {"length": ", stopped at the length limit", "stopped": ", stopped by you"}
    said = f"{answer.usage.tokens} tokens, {answer.per_second:.1f} tokens/s{ends.get(answer.end, '')}"
    if answer.usage.left_out:
        said += f"; the {answer.usage.left_out} oldest messages no longer fitted"
    return f"(no answer: {answer.error})" if answer.error else f"({said})"
