"""What Ollama makes of a Modelfile is what the model was trained on: its templates rendered by Ollama's rules, beside the real ones."""

import re
from itertools import groupby

import pytest
from architectures.test_templates import CONVERSATIONS, SYSTEM, turns
from real_tokenizers import real_tokenizer

from alif_kit.model.chat_format import conversation_text
from alif_kit.release import ollama

NAMES = ("gemma3", "qwen3", "llama3_1", "llama3_2")
ASKED = [messages[:-1] for messages in CONVERSATIONS] + [turns("ایک", "دو", "تین", "چار", "پانچ"), turns("Say hello.")]


def collate(messages):
    """Ollama's own: neighbours of one role become one message, and the system line is handed over beside the messages too."""
    joined = [(role, "\n\n".join(m["content"] for m in found)) for role, found in groupby(messages, lambda m: m["role"])]
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    return {"System": system, "Messages": [{"Role": role, "Content": content} for role, content in joined]}


class Go:
    """As much of Go's text/template as our templates use: fields, variables, if, else, range, eq and ne."""

    def __init__(self, template):
        self.parts = re.split(r"\{\{(.*?)\}\}", template, flags=re.S)
        self.variables = {}

    def render(self, root):
        text, end = self._block(0, root, live=True)
        assert end == len(self.parts)
        return text

    def _value(self, word, dot):
        if word.startswith('"'):
            return word[1:-1]
        return self.variables[word] if word.startswith("$") else dot[word[1:]]

    def _true(self, words, dot):
        if words[0] in ("eq", "ne"):
            return (self._value(words[1], dot) == self._value(words[2], dot)) == (words[0] == "eq")
        return bool(self._value(words[0], dot))

    def _block(self, place, dot, live):
        """From a literal up to the `else` or `end` that closes it: the text, and the place of that word."""
        text = ""
        while place < len(self.parts):
            text += self.parts[place] if live else ""
            if place + 1 == len(self.parts):
                return text, place + 1
            words = re.findall(r'"[^"]*"|\S+', self.parts[place + 1])
            if words[0] in ("else", "end"):
                return text, place + 1
            if words[0] == "if":
                holds = live and self._true(words[1:], dot)
                more, place = self._block(place + 2, dot, holds)
                text += more
                if self.parts[place].strip() == "else":
                    more, place = self._block(place + 1, dot, live and not holds)
                    text += more
                place += 1
            elif words[0] == "range":
                items = self._value(words[1], dot) if live else []
                for item in items:
                    more, _ = self._block(place + 2, item, True)
                    text += more
                place = self._block(place + 2, dot, False)[1] + 1
            elif words[1:2] in ([":="], ["="]):
                if live:
                    self.variables[words[0]] = self._value(words[2], dot)
                place += 2
            else:
                text += self._value(words[0], dot) if live else ""
                place += 2
        raise AssertionError("unreachable")


def test_the_renderer_follows_go():
    data = {"System": "s", "Messages": [{"Role": "user", "Content": "a"}, {"Role": "assistant", "Content": "b"}]}
    template = '{{ $x := .System }}{{ range .Messages }}{{ if eq .Role "user" }}<{{ $x }}{{ $x = "" }}{{ else }}>{{ end }}{{ .Content }}{{ end }}.'
    assert Go(template).render(data) == "<sa>b."
    assert Go('{{ if .System }}1{{ if ne .System "s" }}2{{ end }}3{{ end }}').render(data) == "13"


@pytest.mark.parametrize("system", ["", SYSTEM])
@pytest.mark.parametrize("name", NAMES)
def test_ollamas_prompt_is_the_models_own(name, system):
    from alif_kit.model import unsloth as seam

    seam.prepare()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real_tokenizer(name))
    file = ollama.modelfile("m.gguf", tokenizer.chat_template, system)
    template = re.search(r'TEMPLATE """(.*?)"""', file, re.S)[1]
    assert len(ASKED) == 8
    for messages in ASKED:
        whole = (
            [{"role": "system", "content": system}, *messages] if system else messages
        )  # Ollama puts the Modelfile's SYSTEM first
        expected = conversation_text(messages, tokenizer, "native", system).removeprefix(tokenizer.bos_token or "")
        assert Go(template).render(collate(whole)) == expected
