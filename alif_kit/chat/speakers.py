"""chat: who answers in a chat: an adapter on its base, a merged folder, a GGUF, or an OpenAI-compatible endpoint.

In: a run, or what `--model` and `--base` name. Out: the speaker, and the base to show beside it. GGUF files and endpoints are here,
weights that the seam loads are in own_weights.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alif_kit.chat.own_weights import Weights
from alif_kit.chat.speech import CONTEXT, Speaker, Usage, fitting
from alif_kit.core import Config, Run, StoppedError, UserError
from alif_kit.core.config import Base
from alif_kit.core.errors import first_line
from alif_kit.core.records import read_json
from alif_kit.model.chat_format import Message, conversation_text
from alif_kit.platforms import machine
from alif_kit.release import gguf, merge

ENDPOINT_KEY = "ALIF_ENDPOINT_KEY"
"""Secret for an endpoint; never the teacher's key, which must not go to another address."""


def is_endpoint(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def find(model: str, base: Base, resolve: Callable[[str], str]) -> Speaker:
    """Who `model` is: `http…/v1#NAME`, a .gguf file or the folder of one, an adapter's folder (on `base`), a model's folder or id.

    `resolve` turns the base's name into a folder or Hub id. Raises UserError for what is none of these.
    """
    if is_endpoint(model):
        address, _, name = model.partition("#")
        if not name:
            raise UserError(f"the endpoint {model} names no model; expected the address, then # and the model's name")
        return Endpoint(address, name)
    path = Path(model)
    if file := find_gguf(path):
        return Gguf(file)
    if (path / "adapter_config.json").is_file():
        return Weights(f"{Path(base.model).name} + {_short(path)}", base, partial(resolve, base.model), path)
    return Weights(_short(path), base, partial(resolve, model))


def _short(path: Path) -> str:
    """What people call it: a Hub id as it is, of a folder's path the end."""
    return "/".join(path.parts[-2:]).strip("/")


def find_gguf(path: Path) -> Path | None:
    """The file itself, or the only one of a folder; None for what is no GGUF. Raises UserError when there are several, or none.

    Files that were read back and are right go before others.
    """
    files = sorted(path.glob("*.gguf"))
    files = [file for file in files if gguf.is_right(file)] or files or [path]
    if len(files) > 1:
        raise UserError(f"{path} holds {len(files)} GGUF files; name one: {', '.join(f.name for f in files)}")
    if files[0].suffix == ".gguf" and not files[0].is_file():
        raise UserError(f"{files[0]} is not there; expected a .gguf file, which `alif gguf` makes")
    return files[0] if files[0].suffix == ".gguf" else None


@dataclass
class Gguf:
    """A GGUF file through llama.cpp."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def ready(self) -> None:
        self.llama  # noqa: B018

    @cached_property
    def llama(self) -> Any:
        library = gguf.need_llama(self.name)
        try:
            return library.Llama(model_path=str(self.path), n_ctx=CONTEXT, n_gpu_layers=-1, verbose=False)
        except ValueError as error:
            with self.path.open("rb") as file:
                whole = file.read(4) == b"GGUF"
            why = "is cut off, or of a kind that this llama.cpp does not know" if whole else "is no GGUF file"
            raise UserError(f"{self.path} {why} ({first_line(error)}); make or fetch it again") from None

    def stream(self, messages: list[Message], temperature: float, max_tokens: int, usage: Usage) -> Iterator[str]:
        max_tokens = min(max_tokens, CONTEXT // 2)
        kept, usage.left_out = fitting(messages, self._count, CONTEXT - max_tokens)
        for chunk in self._chunks(kept, {"temperature": temperature, "max_tokens": max_tokens, "stream": True}):
            choice = chunk["choices"][0]
            usage.by_itself = choice["finish_reason"] == "stop"
            if piece := choice["delta"].get("content") if "delta" in choice else choice["text"]:
                usage.tokens += 1
                yield piece

    def _chunks(self, messages: list[Message], options: dict[str, Any]) -> Any:
        """By the template that the file carries. One without was tuned in the plain frame; llama.cpp would guess Llama 2's."""
        if "tokenizer.chat_template" in self.llama.metadata:
            return self.llama.create_chat_completion(messages, **options)
        eos = self.llama.detokenize([self.llama.token_eos()], special=True).decode("utf-8")
        text = conversation_text(messages, SimpleNamespace(bos_token="", eos_token=eos), "alpaca")  # llama.cpp adds BOS
        return self.llama.create_completion(text, **options)

    def _count(self, messages: list[Message]) -> int:
        """Tokens of the messages, with sixteen for the frame around each."""
        return sum(16 + len(self.llama.tokenize(m["content"].encode("utf-8"), add_bos=False)) for m in messages)


@dataclass
class Endpoint:
    """A served model, over the OpenAI protocol."""

    address: str
    name: str

    def ready(self) -> None:
        """Nothing to load."""

    @cached_property
    def key(self) -> str:
        return machine.find_secret(ENDPOINT_KEY)

    @cached_property
    def client(self) -> Any:
        from openai import OpenAI

        return OpenAI(api_key=self.key or "none", base_url=self.address, max_retries=1, timeout=180.0)

    def stream(self, messages: list[Message], temperature: float, max_tokens: int, usage: Usage) -> Iterator[str]:
        options = {"temperature": temperature, "max_tokens": max_tokens, "stream_options": {"include_usage": True}}
        try:
            with self._request(messages, options) as chunks:
                yield from _contents(chunks, usage)
        except Exception as error:  # of the library, of the one below it when a connection breaks, of a cut-off piece
            raise StoppedError(f"{self.address} did not answer: {first_line(error, self.key)}") from None

    def _request(self, messages: list[Message], options: dict[str, Any]) -> Any:
        """The open answer; an option that a 400 names is left out, as not every server knows each."""
        from openai import BadRequestError

        while True:
            try:
                return self.client.chat.completions.create(model=self.name, messages=messages, stream=True, **options)
            except BadRequestError as error:
                named = next((name for name in options if name in str(error)), None)
                if named is None:
                    raise
                value = options.pop(named)
                if named == "max_tokens" and "max_completion_tokens" in str(error):
                    options["extra_body"] = {"max_completion_tokens": value}


def _contents(chunks: Any, usage: Usage) -> Iterator[str]:
    """The text of each chunk; tokens as the server counts them, or a chunk for a token where it does not."""
    for chunk in chunks:
        for choice in chunk.choices[:1]:
            usage.by_itself = choice.finish_reason == "stop" or usage.by_itself
            if choice.delta.content:
                usage.tokens += 1
                yield choice.delta.content
        if chunk.usage:
            usage.tokens = chunk.usage.completion_tokens or usage.tokens


def choose(run: Run, model: str | None, base: str | None, resolve: Callable[[str], str]) -> tuple[Speaker, Speaker | None]:
    """Who answers, and the base beside it, which is loaded when somebody asks for it; None where nobody has named one.

    Without `model` the run's own. An adapter from elsewhere stands on `base`, or on the base that its folder names.
    """
    config, own = run.config, not model or is_of(run, model)
    foreign = not own and (Path(model) / "adapter_config.json").is_file()
    if foreign:
        named = base if base and not is_endpoint(base) else adapter_base(Path(model))
        config = replace(config, base=replace(config.base, model=named))
    if not model or Path(model).resolve() == run.file("finetune", "adapter").resolve():
        speaker: Speaker = _tuned(run, resolve) if model else of_run(run, resolve)
    else:
        speaker = find(model, config.base, resolve)
    if base and base != config.base.model:
        return speaker, find(base, config.base, resolve)
    return speaker, base_of(speaker, config, resolve) if own or foreign or base else None


def is_of(run: Run, model: str) -> bool:
    """Whether a model lies in the run's folder."""
    return (run.path / "config.json").is_file() and Path(model).resolve().is_relative_to(run.path.resolve())


def of_run(run: Run, resolve: Callable[[str], str]) -> Weights:
    """What a run has to offer: its merged model, else its fine-tuned adapter. Raises UserError when it has neither."""
    base, merged = run.config.base, run.file("release", "merged")
    if (merged / merge.SUMS).is_file():
        return Weights(f"{run.path.name}: release/merged", base, lambda: str(merged), None, base.chat_format)
    return _tuned(run, resolve)


def _tuned(run: Run, resolve: Callable[[str], str]) -> Weights:
    """The fine-tuned adapter on what it was tuned on."""
    base, adapter = run.config.base, run.require("finetune", "adapter", stage="finetune")
    on_merged = run.config.lora.after_pretraining == "merge"
    under = (lambda: str(run.require("pretrain", "merged", stage="finetune"))) if on_merged else partial(resolve, base.model)
    return Weights(f"{run.path.name}: finetune/adapter", base, under, adapter, base.chat_format)


def base_of(speaker: Speaker, config: Config, resolve: Callable[[str], str]) -> Speaker:
    """The base to show beside a speaker: out of the same memory where only an adapter lies between them."""
    base = config.base
    if isinstance(speaker, Weights) and speaker.adapter and config.lora.after_pretraining == "continue":
        return Weights(Path(base.model).name, base, speaker.find, None, speaker.chat_format, bare_of=speaker)
    return Weights(Path(base.model).name, base, partial(resolve, base.model), None, base.chat_format)


def adapter_base(adapter: Path) -> str:
    """The base that an adapter's folder names. Raises UserError when it names none."""
    named = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not named:
        raise UserError(f"{adapter} does not say which base it was made for; name it with --base")
    return str(named)
