"""release: an adapter becomes part of its base: 16-bit safetensors that any library loads.

In: a base and an adapter, with or without trained vocabulary. Out: a folder with weights in shards, tokenizer, chat template,
generation_config with every token that ends an answer, merge.json with what the check found, SHA256SUMS. The work is done in a
process of its own, whose memory goes with it, in a folder that gets its name last: half a merge never looks like a whole one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import write_atomic, write_json
from alif_kit.core.run import latest_json
from alif_kit.release import weights

SUMS = "SHA256SUMS"
SHARD = "4GB"
# Rounding to 16 bit moves logits: by how much of their range, and for how many tokens the likeliest one may become another.
TOLERANCE, SAME_TOP = 0.02, 0.97
PROMPTS = (
    "پاکستان کا دارالحکومت کون سا شہر ہے؟",
    "ایک مختصر کہانی لکھیں۔",
    "The river carries silt from the mountains.",
    "12 × 12 = ",
)


def merge(base: Base, path: str, adapter: Path, folder: Path) -> dict[str, Any]:
    """Merge, check and write sums; returns what merge.json holds. A finished folder whose sums are right is kept as it is.

    Raises UserError for weights that must not or cannot be used, and when disk or memory will not do; StoppedError when the check
    fails.
    """
    weights.check_adapter(adapter, Path(path))
    if Path(path).is_dir():
        weights.check_model(Path(path))
    if (folder / SUMS).is_file() and not wrong_sums(folder):
        made = latest_json(folder / "merge.json")
        if made["base"] == path and made["adapter_sha256"] == digest(adapter / "adapter_model.safetensors"):
            return made
    check_room(folder, weights.size(Path(path)))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _in_own_process({"base": vars(base), "path": path, "adapter": str(adapter), "folder": str(partial)})
    write_sums(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return latest_json(folder / "merge.json")


def check_room(folder: Path, size: int) -> None:
    """Disk for the merged files and memory for the base in 32 bit. Raises UserError before anything is loaded."""
    import psutil

    folder.parent.mkdir(parents=True, exist_ok=True)
    free, memory = shutil.disk_usage(folder.parent).free, psutil.virtual_memory().available
    if free < 1.1 * size:
        raise UserError(f"merging needs {1.1 * size / 1e9:.1f} GB of disk at {folder.parent}, {free / 1e9:.1f} are free; make room")
    if memory < 2.2 * size:
        raise UserError(
            f"merging needs about {2.2 * size / 1e9:.1f} GB of memory, {memory / 1e9:.1f} are free; close other programs"
        )


def _in_own_process(task: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-m", "alif_kit.release.merge", json.dumps(task)], capture_output=True, text=True)
    if done.returncode:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("alif: ")), "")
        raise StoppedError(
            said.removeprefix("alif: ") or f"merging stopped: {(done.stderr.strip().splitlines() or ['no word'])[-1][:300]}"
        )


def _work(task: dict[str, Any]) -> None:
    """The merge itself: the logits before, the files, and the logits of what was written."""
    from alif_kit.model import unsloth as seam

    base, adapter, folder = replace(Base(**task["base"]), load_in_4bit=False), Path(task["adapter"]), Path(task["folder"])
    loaded = seam.load(base, task["path"], adapter)
    before = _logits(loaded)
    seam.write_merged(loaded, folder, base.chat_format, SHARD)
    del loaded
    merged, tuned = seam.load(base, folder), adapter / "adapter_model.safetensors"
    vocabulary = [name for name in weights.shapes(tuned) if "embed_tokens" in name or "lm_head" in name]
    found = _compare(before, _logits(merged)) | {"trained_vocabulary": bool(vocabulary)}
    found |= {"base": task["path"], "adapter_sha256": digest(tuned)}
    found |= {"ends": merged.model.generation_config.eos_token_id, "chat_template": bool(merged.tokenizer.chat_template)}
    write_json(folder / "merge.json", found)
    if found["largest_difference"] > TOLERANCE or found["same_top_token"] < SAME_TOP:
        raise StoppedError(
            f"the merged model differs from base and adapter: logits by {found['largest_difference']:.1%} of their range "
            f"({TOLERANCE:.0%} allowed), the same likeliest token {found['same_top_token']:.1%} of the time; nothing was published"
        )


def _logits(loaded: Any) -> list[Any]:
    """Logits of the sample prompts, [T, vocabulary] each, on the CPU."""
    import torch

    rows = [loaded.tokenizer(text, return_tensors="pt")["input_ids"].to(loaded.device) for text in PROMPTS]
    with torch.no_grad():
        return [loaded.model(input_ids=ids).logits[0].float().cpu() for ids in rows]


def _compare(before: list[Any], after: list[Any]) -> dict[str, float]:
    """Largest difference as a share of the logits' range, and the share of places with the same likeliest token."""
    difference = max(float((a - b).abs().max() / (a.max() - a.min())) for a, b in zip(before, after, strict=True))
    same = [(a.argmax(-1) == b.argmax(-1)).float() for a, b in zip(before, after, strict=True)]
    share = float(sum(s.sum() for s in same) / sum(len(s) for s in same))
    return {"largest_difference": round(difference, 6), "same_top_token": round(share, 4), "tolerance": TOLERANCE}


def digest(source: Path | str) -> str:
    """SHA-256 of a file, or of the text that one will hold, in hex."""
    if isinstance(source, str):
        return hashlib.sha256(source.encode()).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_text(totals: dict[str, str]) -> str:
    """SHA256SUMS of the sums by file, as `sha256sum -c` reads it."""
    return "".join(f"{total}  {name}\n" for name, total in sorted(totals.items()))


def write_sums(folder: Path) -> None:
    """SHA256SUMS over every file of a folder."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file() and p.name != SUMS}
    write_atomic(folder / SUMS, sums_text({name: digest(path) for name, path in files.items()}))


def read_sums(folder: Path) -> dict[str, str]:
    """The sums by file that a folder's SHA256SUMS says; empty where it has none."""
    path = folder / SUMS
    lines = (line.split("  ", 1) for line in path.read_text("utf-8").splitlines()) if path.is_file() else ()
    return {name: total for total, name in lines}


def wrong_sums(folder: Path) -> list[str]:
    """Files of SHA256SUMS that are gone or changed."""
    return [name for name, total in read_sums(folder).items() if not (folder / name).is_file() or digest(folder / name) != total]


if __name__ == "__main__":
    try:
        _work(json.loads(sys.argv[1]))
    except (UserError, StoppedError) as error:
        print(f"alif: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
