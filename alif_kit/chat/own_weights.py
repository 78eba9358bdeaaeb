"""chat: a speaker whose weights are loaded here, through the seam: a model, or an adapter on its base.

In: a folder or Hub id, and the adapter's folder. Out: the answer in pieces, while `generate` works in a thread of its own. Nothing
is loaded before the first question or `ready`; closing the iterator ends the work behind it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from alif_kit.chat.speech import CONTEXT, Usage, fitting
from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, first_line
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import Message, answer_ends, conversation_text
from alif_kit.release import weights


@dataclass
class Weights:
    """A model's folder or Hub id, with an adapter on it or without, through the seam."""

    name: str
    base: Base
    find: Callable[[], str]
    adapter: Path | None = None
    chat_format: str = ""
    """Empty: the model's own template where it has one, else the plain frame."""
    bare_of: Weights | None = None
    """The same weights with their adapter switched off, so that the base costs no memory of its own."""

    def ready(self) -> None:
        self.loaded  # noqa: B018

    @cached_property
    def loaded(self) -> seam.Loaded:
        if self.bare_of:
            return self.bare_of.loaded
        path = self.find()
        if self.adapter:
            weights.check_adapter(self.adapter, Path(path))
        if Path(path).is_dir():
            weights.check_model(Path(path))
            weights.check_tokenizer(Path(path))
        loaded = seam.load(replace(self.base, max_seq_length=self._length(path)), path, self.adapter)
        seam.ready_to_answer(loaded)
        return loaded

    def _length(self, path: str) -> int:
        """Tokens to load for: CONTEXT where the model was made for as many, never fewer than it was tuned with."""
        seam.prepare()
        from transformers import AutoConfig

        try:
            made_for = AutoConfig.from_pretrained(path, trust_remote_code=False).get_text_config().max_position_embeddings
        except (OSError, ValueError, AttributeError):
            return self.base.max_seq_length  # a Hub id without network, or a kind that names no limit: the seam says what is wrong
        return max(self.base.max_seq_length, min(CONTEXT, made_for))

    @cached_property
    def frame(self) -> str:
        return self.chat_format or ("native" if self.loaded.tokenizer.chat_template else "alpaca")

    def stream(self, messages: list[Message], temperature: float, max_tokens: int, usage: Usage) -> Iterator[str]:
        room = getattr(self.loaded.model, "max_seq_length", self.base.max_seq_length)
        max_tokens = min(max_tokens, room // 2)
        kept, usage.left_out = fitting(messages, lambda some: len(self._ids(some)), room - max_tokens)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        yield from self._pieces(self._ids(kept), {"max_new_tokens": max_tokens, **sampling}, usage)

    def _ids(self, messages: list[Message]) -> list[int]:
        text = conversation_text(messages, self.loaded.tokenizer, self.frame)
        return self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]

    def ends(self) -> set[int]:
        configured = self.loaded.model.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return answer_ends(self.loaded.tokenizer, self.frame) | set(listed) - {None}

    def _pieces(self, ids: list[int], options: dict[str, Any], usage: Usage) -> Iterator[str]:
        """One answer of `generate`, which runs in a thread of its own while its pieces are read."""
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(self.loaded.tokenizer, skip_prompt=True, skip_special_tokens=True)
        options |= {"streamer": streamer, "pad_token_id": self.loaded.tokenizer.pad_token_id}
        options["eos_token_id"], over, failed = sorted(self.ends()), threading.Event(), []
        thread = threading.Thread(target=self._work, args=(ids, options, usage, over, failed), daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:
            over.set()
            thread.join()
        if failed:
            raise StoppedError(f"the model stopped: {first_line(failed[0])}") from failed[0]

    def _work(self, ids: list[int], options: dict[str, Any], usage: Usage, over: threading.Event, failed: list[Exception]) -> None:
        import torch
        from transformers import StoppingCriteriaList

        def after_each_token(rows: Any, _: Any, **__: Any) -> Any:
            usage.by_itself = int(rows[0, -1]) in options["eos_token_id"]
            usage.tokens = rows.shape[1] - len(ids) - usage.by_itself
            return torch.full((len(rows),), over.is_set(), device=rows.device)

        model = self.loaded.model
        try:
            with torch.no_grad(), model.disable_adapter() if self.bare_of else contextlib.nullcontext():
                row = torch.tensor([ids], device=self.loaded.device)
                stop = StoppingCriteriaList([after_each_token])
                model.generate(input_ids=row, attention_mask=torch.ones_like(row), stopping_criteria=stop, **options)
        except Exception as error:  # whatever it is, it must reach the reader, who waits for the next piece
            failed.append(error)
        finally:
            options["streamer"].end()
