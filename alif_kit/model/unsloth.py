"""model: the seam to Unsloth. Load a base, attach or continue an adapter, hand out the trainer. Nothing else imports it.

In: the names and numbers of the configuration. Out: a model, its tokenizer, and files of safetensors only.
`trust_remote_code` stays False everywhere.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core import Config, StoppedError, UserError
from alif_kit.core.config import Base
from alif_kit.core.errors import first_line
from alif_kit.core.records import read_json
from alif_kit.model import checkpoint

VOCAB_MODULES = ("embed_tokens", "lm_head")
ROW_WEIGHT = "trainable_tokens_delta"
VISION = r".*(vision|multi_modal).*"  # a model that also sees is trained on text alone


@dataclass
class Loaded:
    """A model with its tokenizer and the device it stands on."""

    model: Any
    tokenizer: Any
    device: str


@lru_cache
def prepare() -> Any:
    """Import Unsloth, which patches transformers and trl: it must come before either of them is used.

    The libraries' own progress bars and notices are turned down: the kit shows its own.
    """
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import unsloth

    # isort: split
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return unsloth


def load(base: Base, path: str | Path, adapter: Path | None = None) -> Loaded:
    """The base in 4 bit (or 16), with the saved adapter on it if one is given, ready to answer.

    Raises UserError when the base cannot be read, and for an adapter of another vocabulary.
    """
    import torch

    unsloth = prepare()
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter} holds no adapter_config.json; expected the adapter folder of a finished stage")
    if adapter is not None:
        checkpoint.check_vocabulary(adapter, str(path))
    on_gpu = torch.cuda.is_available()
    quiet = contextlib.nullcontext() if on_gpu else contextlib.redirect_stdout(io.StringIO())
    try:
        with quiet:
            model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
                str(path),
                max_seq_length=base.max_seq_length,
                load_in_4bit=base.load_in_4bit,
                dtype=None if on_gpu else _cpu_dtype(path),
                trust_remote_code=False,
            )
            # On a card, a base that also sees comes with a processor (unsloth#2213).
            tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
            _with_pad(model, tokenizer)
    except OSError as error:
        raise UserError(f"base.model {path} cannot be loaded: {first_line(error)}") from None
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    return Loaded(model, tokenizer, str(next(model.parameters()).device))


def bfloat16_products() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 by itself (AMX or AVX512_BF16), about twice as fast as float32."""
    import torch

    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def _cpu_dtype(path: str | Path) -> Any:
    """What a CPU keeps the base in: bfloat16 where its weights are published so and the CPU has the products, else float32."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(path), trust_remote_code=False)
    published = (config.dtype, config.get_text_config().dtype)  # one that also sees may say it at its top alone
    return torch.bfloat16 if torch.bfloat16 in published and bfloat16_products() else torch.float32


def _with_pad(model: Any, tokenizer: Any) -> None:
    """A pad token that is not EOS, where a base comes without (Llama 3, Mistral): Unsloth sees to it on a card, not on a CPU."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        from unsloth_zoo.tokenizer_utils import fix_pad_token

        fix_pad_token(tokenizer, model=model, model_config=model.config)


def precision(model: Any) -> Any:
    """The torch dtype that the model is computed in, likelihoods and answers alike; None where nothing is cast, as in float32.

    On a card, Unsloth's `generate` casts and a plain forward does not: to float16 a family that it keeps in float32 on cards
    without bfloat16 (Gemma-3), else to the model's own 16 bit. As `unsloth_base_fast_generate` has it, in unsloth/models/vision.py.
    """
    import torch

    on_card = model.device.type != "cpu"
    forced = on_card and getattr(model, "_unsloth_forced_float32", False)
    own = getattr(model.config, "dtype", None) if on_card else model.dtype  # a CPU may have the weights in another than they say
    kind = torch.float16 if forced else getattr(torch, str(own).removeprefix("torch."), None)
    return kind if kind in (torch.float16, torch.bfloat16) else None


def autocast(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Forward passes inside compute in the model's `precision`."""
    import torch

    kind = precision(model)
    return contextlib.nullcontext() if kind is None else torch.autocast(model.device.type, dtype=kind)


def give_back() -> None:
    """Free what no variable holds any more, on the card too: Unsloth's models hold themselves, so `del` alone frees nothing."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def attach(loaded: Loaded, config: Config, rows: list[int] | None = None) -> None:
    """Put a fresh adapter of the configured shape on the base. `rows`: the vocabulary rows to train (lora.train_vocab = rows)."""
    lora, base = config.lora, loaded.model.config
    tied = getattr(base, "tie_word_embeddings", False)
    matrices = VOCAB_MODULES[:1] if tied else VOCAB_MODULES  # a tied lm_head follows embed_tokens by itself (peft)
    loaded.model = prepare().FastLanguageModel.get_peft_model(
        loaded.model,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        target_modules=[*lora.target_modules, *(VOCAB_MODULES if lora.train_vocab == "full" else ())],
        use_gradient_checkpointing="unsloth" if loaded.device.startswith("cuda") else False,
        random_state=config.seed,
        **({} if rows is None else {"trainable_token_indices": dict.fromkeys(matrices, rows)}),
        **({"exclude_modules": VISION} if hasattr(base, "vision_config") else {}),
    )
    head = loaded.model.get_output_embeddings()
    if rows is not None and not hasattr(head, "bias"):
        head.bias = None  # trl's loss asks the head for one, and peft's wrapper of a tied head passes on its weight alone
    for name, parameter in loaded.model.named_parameters():
        if ROW_WEIGHT in name:
            parameter.requires_grad_(True)  # on a card, Unsloth freezes all that is no LoRA matrix


def continue_adapter(loaded: Loaded, config: Config, adapter: Path) -> None:
    """Attach an adapter of the configured shape and fill it with the weights another stage saved."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    saved = read_json(adapter / "adapter_config.json")
    indices = saved.get("trainable_token_indices") or {}
    attach(loaded, config, indices.get("embed_tokens") if isinstance(indices, dict) else indices)
    outcome = set_peft_model_state_dict(loaded.model, load_file(str(adapter / "adapter_model.safetensors")))
    if outcome.unexpected_keys:
        raise UserError(f"{adapter} has weights this adapter lacks ({outcome.unexpected_keys[0]}); expected the same lora settings")


def rows_at_their_own_rate(trainer: Any, rate: float) -> None:
    """Give the trained vocabulary rows a learning rate of their own; Unsloth does so for whole matrices only."""

    def create_optimizer(model: Any = None) -> Any:
        if trainer.optimizer is None:
            kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
            trained = {n: p for n, p in (model or trainer.model).named_parameters() if p.requires_grad}
            rest, rows = ([p for n, p in trained.items() if (ROW_WEIGHT in n) == vocabulary] for vocabulary in (False, True))
            decay = {"weight_decay": trainer.args.weight_decay}
            trainer.optimizer = kind([{"params": rest, **decay}, {"params": rows, "lr": rate, **decay}], **options)
        return trainer.optimizer

    trainer.create_optimizer = create_optimizer


def export_gguf(merged: Path, quants: list[str], folder: Path) -> list[Path]:
    """Unsloth's own exporter on a merged model, which fetches and builds llama.cpp: the files in the order of `quants`.

    Raises StoppedError with what it says when it fails.
    """
    loaded = load(Base(str(merged), load_in_4bit=False), merged)
    try:
        made = loaded.model.save_pretrained_gguf(str(folder), loaded.tokenizer, quantization_method=quants)["gguf_files"]
    except RuntimeError as error:
        raise StoppedError(f"Unsloth's GGUF exporter stopped: {' '.join(str(error).split())[:300]}") from None
    by_quant = {quant: next((Path(f) for f in made if quant in Path(f).name.lower()), None) for quant in quants}
    if absent := [quant for quant, path in by_quant.items() if path is None]:
        raise StoppedError(f"Unsloth's GGUF exporter made no {absent[0]}; it made {', '.join(Path(f).name for f in made)}")
    return list(by_quant.values())


def save(loaded: Loaded, folder: Path, **options: Any) -> None:
    """Write the model, or its adapter alone, and the tokenizer as safetensors."""
    loaded.model.save_pretrained(str(folder), safe_serialization=True, **options)
    loaded.tokenizer.save_pretrained(str(folder))


def trainer_classes() -> tuple[Any, Any]:
    """UnslothTrainer and UnslothTrainingArguments (trl's SFT pair, with a learning rate of its own for the embeddings)."""
    return prepare().UnslothTrainer, prepare().UnslothTrainingArguments


def train_in_float32(model: Any) -> None:
    """Keep the trained weights in float32. On a 4-bit base trl casts them to bfloat16, whose eight bits lose small updates, and
    peft casts them back when a checkpoint is loaded, so a resumed run would go another way than an uninterrupted one.
    """
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def mask_prompts(trainer: Any, user_marker: str, answer_marker: str) -> Any:
    """Unsloth's `train_on_responses_only`: labels outside the answers become -100."""
    from unsloth.chat_templates import train_on_responses_only

    return train_on_responses_only(trainer, instruction_part=user_marker, response_part=answer_marker)


def labels_of(ids: list[int], tokenizer: Any, user_marker: str, answer_marker: str) -> list[int]:
    """The labels that `mask_prompts` would give a row of token ids: -100 where nothing is learnt."""
    prepare()
    from unsloth.chat_templates import train_on_responses_only

    markers = {"instruction_part": user_marker, "response_part": answer_marker}
    mask = train_on_responses_only(None, **markers, tokenizer=tokenizer, return_function=True)
    return [int(label) for label in mask({"input_ids": [ids]})["labels"][0]]


def ready_to_answer(loaded: Loaded) -> None:
    """Switch to inference mode, pads on the left."""
    prepare().FastLanguageModel.for_inference(loaded.model)
    loaded.tokenizer.padding_side = "left"
