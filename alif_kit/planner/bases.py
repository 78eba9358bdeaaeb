"""planner: the bases there are to plan with, by their shapes: exact parameter counts, tokens per Urdu word. No torch.

In: bases.toml, else a config.json in a local folder or on the Hub, and a tokenizer.json when there is one. Out: `Shape`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import read_json
from alif_kit.languages import pack
from alif_kit.model import base_table, checkpoint, tiny_base, without_hub
from alif_kit.platforms import machine

_NOT_DENSE = ("experts", "per_layer_input", "mamba", "linear_num")  # mixtures, Gemma 3n, hybrids
_KEYS = {"hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads"}
_KEYS |= {"intermediate": "intermediate_size", "vocabulary": "vocab_size"}


@dataclass(frozen=True)
class Shape:
    """A decoder-only base. Sizes are counts; `fertility` is tokens per Urdu word, 0 when nobody has measured it.

    `new_rows`: of the vocabulary, those that `alif fit --add` made and that have to be trained.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    layer_norms: int = 2
    qk_norm: bool = False
    qkv_bias: bool = False
    vision: int = 0
    parameters: int = 0
    fertility: float = 0.0
    fertility_source: str = ""
    urdu_rows: int = 0
    float32_on_fp16: bool = False
    kept_16bit: float = 0.0
    new_rows: int = 0
    instruct: bool = True
    chat: str = "unknown"
    end_of_turn: list[str] = field(default_factory=list)
    licence: str = "unknown"
    gated: bool = False

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each linear of a layer, by the name LoRA knows it under."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        to_kv, wide = (self.hidden, kv), (self.hidden, self.intermediate)
        attention = {"q_proj": (self.hidden, q), "k_proj": to_kv, "v_proj": to_kv, "o_proj": (q, self.hidden)}
        return attention | {"gate_proj": wide, "up_proj": wide, "down_proj": wide[::-1]}

    def fitted(self, rows: int) -> Shape:
        """The base with so many rows of vocabulary; itself for 0. A folder of one's own is quantised whole.

        Raises UserError for more rows than it has.
        """
        if rows > self.vocabulary:
            raise UserError(
                f"base.fit_rows is {rows:,}, more than the {self.vocabulary:,} that base {self.name} has; expected fewer"
            )
        return replace(self, vocabulary=rows, parameters=0, kept_16bit=0.0) if rows else self

    @property
    def linear_parameters(self) -> int:
        """Weights of all layers' linears: what NF4 quantises."""
        return self.layers * sum(a * b for a, b in self.linears.values())

    @property
    def matrix(self) -> int:
        """Weights of one vocabulary matrix."""
        return self.vocabulary * self.hidden

    @property
    def vocab_modules(self) -> tuple[str, ...]:
        """The vocabulary matrices the model owns: a tied head is the embedding."""
        return ("embed_tokens",) if self.tied else ("embed_tokens", "lm_head")

    @property
    def small_parameters(self) -> int:
        """RMSNorms and biases."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        layer = self.layer_norms * self.hidden + 2 * self.head_dim * self.qk_norm + (q + 2 * kv) * self.qkv_bias
        return self.layers * layer + self.hidden

    @property
    def total(self) -> int:
        """All parameters, the image tower's too."""
        return self.linear_parameters + len(self.vocab_modules) * self.matrix + self.small_parameters + self.vision

    def lora_parameters(self, rank: int, modules: tuple[str, ...]) -> int:
        """rank x (in + out) per adapted linear and layer. Raises UserError for a module that no layer has."""
        if unknown := sorted(set(modules) - set(self.linears)):
            raise UserError(f"lora.target_modules names {unknown[0]!r}; expected some of {', '.join(self.linears)}")
        return self.layers * rank * sum(sum(self.linears[name]) for name in modules)


KEPT, KEPT_GEMMA = 0.06, 0.15
"""`kept_16bit` of a base on the Hub that bases.toml does not know: as of those that it knows."""


def known_bases() -> dict[str, Shape]:
    """The bases of bases.toml by Hub id."""
    table = base_table.read()
    source = {"fertility_source": table["fertility_source"]}
    rows = {name: row for name, row in table.items() if isinstance(row, dict)}
    return {name: Shape(name=name, **row, **(source if "fertility" in row else {})) for name, row in rows.items()}


def find(name: str) -> Shape:
    """The base by Hub id, local folder or `tiny`; its fertility is measured, known or assumed, and says which.

    Raises UserError when neither bases.toml nor the Hub nor the disk has it, or when it is no dense decoder.
    """
    known = known_bases()
    if name in known:
        return known[name]
    if name == "tiny":
        return from_config(name, {**tiny_base.SHAPE, "vocab_size": tiny_base.VOCABULARY, "tie_word_embeddings": False})
    without_hub.check_place(name)
    folder, tokenizer = Path(name), Path(name) / "tokenizer.json"
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(f"base {name} holds no config.json; expected a folder saved by transformers")
    config = folder / "config.json" if folder.is_dir() else _download(name)
    shape = from_config(name, _config(config))
    if folder.is_dir():
        shape = replace(shape, new_rows=len(checkpoint.new_rows(name)))
    else:
        shape = replace(shape, kept_16bit=KEPT_GEMMA if shape.float32_on_fp16 else KEPT)
    if not tokenizer.is_file():
        return shape
    found = round(measure_fertility(tokenizer), 2)
    return replace(shape, fertility=found, fertility_source=f"measured here on the pack's corpus with {tokenizer.name}")


def _config(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict) or not found.get("text_config", found).get("hidden_size"):
        raise UserError(f"{path} names no hidden_size; expected the config.json of a model that transformers saved")
    return found


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    advice = f"give a local folder, another Hub id, or one of {', '.join(known_bases())}"
    try:
        cached = try_to_load_from_cache(name, "config.json")
        if isinstance(cached, str):
            return Path(cached)
        if not machine.has_internet():
            raise UserError(f"base {name!r} is not in bases.toml, nor in the cache, and the Hub cannot be reached; {advice}")
        return Path(hf_hub_download(name, "config.json", token=machine.find_secret("HF_TOKEN") or None))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        where = "is not in bases.toml and the Hub does not give its config.json"
        raise UserError(f"base {name!r} {where} ({first_line(error)}); {advice}") from None


def from_config(name: str, config: dict[str, Any]) -> Shape:
    """A transformers config.json as a Shape; what the file leaves to the library's defaults is asked of the library."""
    values = config.get("text_config") or config
    kind = str(values.get("model_type") or config.get("model_type", "llama"))
    if odd := next((key for key in values if values[key] and any(mark in key for mark in _NOT_DENSE)), None):
        raise UserError(f"base {name} is no plain dense decoder ({odd} = {values[odd]}); expected one, the planner knows no other")
    if any(key not in values for key in _KEYS.values()):
        values = _with_defaults(name, kind, values)
    sizes = {ours: int(values[theirs]) for ours, theirs in _KEYS.items()}
    tied = values.get("tie_word_embeddings", kind.startswith("gemma"))
    return Shape(
        name=name,
        **sizes,
        head_dim=int(values.get("head_dim") or sizes["hidden"] // sizes["heads"]),
        tied=bool(config.get("tie_word_embeddings", tied)),
        layer_norms=4 if kind.startswith(("gemma2", "gemma3")) else 2,
        qk_norm=kind.startswith(("qwen3", "gemma3")),
        qkv_bias=bool(values.get("attention_bias", kind.startswith("qwen2"))),
        float32_on_fp16=kind.startswith(("gemma3", "gemma4")),
    )


def _with_defaults(name: str, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        filled = AutoConfig.for_model(kind, **{k: v for k, v in values.items() if k != "model_type"}).to_dict()
    except (ValueError, TypeError):
        filled = values
    if missing := [key for key in _KEYS.values() if key not in filled]:
        raise UserError(f"base {name} has no {missing[0]} in its config.json ({kind}); the planner knows dense decoders only")
    return filled


def check_new_rows(name: str, number: int, train_vocab: str) -> None:
    """Raises UserError where a base has new pieces (`alif fit --add`) and their rows would stay as they were begun."""
    if number and train_vocab == "none":
        raise UserError(
            f"lora.train_vocab is none, but base {name} has {number:,} new pieces ({checkpoint.FIT}) that nothing has trained; "
            "expected rows or full: set lora.train_vocab=rows"
        )


def measure_fertility(tokenizer: Path, language: str = "ur") -> float:
    """Tokens without special ones over whitespace-separated words, on the pack's corpus."""
    from tokenizers import Tokenizer

    read_json(tokenizer)
    loaded = Tokenizer.from_file(str(tokenizer))
    texts = [document.text for document in pack.corpus(language, language)]
    return sum(len(loaded.encode(text, add_special_tokens=False).ids) for text in texts) / sum(len(t.split()) for t in texts)


def fertility(shape: Shape) -> tuple[float, str]:
    """Tokens per Urdu word and where the number comes from; an unknown one is assumed, and said to be."""
    if shape.fertility:
        return shape.fertility, shape.fertility_source
    table = base_table.read()
    return table["assumed_fertility"], f"assumed: {table['assumed_fertility_reason']}"
