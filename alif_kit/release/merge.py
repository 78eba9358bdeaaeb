"""release: an adapter becomes part of its base: 16-bit safetensors that any library loads.

In: a base and an adapter, with or without trained vocabulary. Out: a folder with the base's shards, tokenizer, chat template,
generation_config with every token that ends an answer, merge.json with what the checks found, SHA256SUMS. The work is done in a
process of its own, whose memory goes with it, in a folder that gets its name last: half a merge never looks like a whole one.

Two checks: each changed matrix is held against base and adapter (`model/merging.py`), always; and the logits of the whole model
(`logits.py`), where card or memory holds it. Where neither does, merge.json says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.progress import Update, bar
from alif_kit.core.records import write_atomic, write_json
from alif_kit.core.run import latest_json
from alif_kit.model import checkpoint, merging
from alif_kit.release import logits, weights

SUMS = "SHA256SUMS"
SAYS = "alif-progress "
KILLED = "the process was killed, most likely for want of memory"


def merge(base: Base, path: str, adapter: Path, folder: Path, language: str) -> dict[str, Any]:
    """Merge, check and write sums; returns what merge.json holds. A finished folder whose sums are right is kept as it is.

    `language`: of the pack whose held-out documents the logits are compared on. Raises UserError for weights that must not or
    cannot be used, and when disk or memory will not do; StoppedError when a check fails.
    """
    weights.check_adapter(adapter, Path(path))
    if Path(path).is_dir():
        weights.check_model(Path(path))
    if (folder / SUMS).is_file() and not wrong_sums(folder):
        made = latest_json(folder / "merge.json")
        if made.get("adapter") and made["base"] == path and made["adapter_sha256"] == digest(adapter / "adapter_model.safetensors"):
            return made
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _in_own_process({"base": vars(base), "path": path, "adapter": str(adapter), "folder": str(partial), "language": language})
    write_sums(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return latest_json(folder / "merge.json")


def _in_own_process(task: dict[str, Any]) -> None:
    """Run `_work`, its progress shown here. What fails or is killed while logits are compared leaves a merge without that."""
    command = [sys.executable, "-m", "alif_kit.release.merge", json.dumps(task)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, bar("merge", 0) as update:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8")
        try:
            for line in child.stdout or ():
                if line.startswith(SAYS):
                    update(*json.loads(line.removeprefix(SAYS)))
            code = child.wait()
        except BaseException:
            child.kill()
            raise
        errors.seek(0)
        said = errors.read().strip().splitlines()
    about = Path(task["folder"]) / "merge.json"
    own = next((line.removeprefix("alif: ") for line in reversed(said) if line.startswith("alif: ")), "")
    last = KILLED if code == -signal.SIGKILL else (said or ["no word"])[-1][:300]
    if code and about.is_file() and not own:
        shutil.rmtree(about.parent / logits.WAITING, ignore_errors=True)
        write_json(about, latest_json(about) | {"not_compared": last})
    elif code:
        raise (UserError if own and code == UserError.exit_code else StoppedError)(own or f"merging stopped: {last}")


def _say(done: int, note: str = "", total: int = 0) -> None:
    """Progress to the process that waits for this one."""
    print(SAYS + json.dumps([done, note, total]), flush=True)


def _work(task: dict[str, Any], update: Update = _say) -> None:
    """The merge itself, then the logits before and after."""
    base, adapter, folder = replace(Base(**task["base"]), load_in_4bit=False), Path(task["adapter"]), Path(task["folder"])
    found_base = checkpoint.look(task["path"])
    why_not = logits.why_not(found_base, adapter)
    found = merging.merge(found_base, adapter, folder, base.chat_format, update, spare=logits.disk(found_base))
    tuned = adapter / "adapter_model.safetensors"
    trained = any("embed_tokens" in name or "lm_head" in name for name in checkpoint.header(tuned))
    of = os.path.relpath(adapter, folder.parents[1])  # finetune/adapter for the run's own
    found |= {"base": task["path"], "adapter": of, "adapter_sha256": digest(tuned), "trained_vocabulary": trained}
    found |= {"ends": latest_json(folder / "generation_config.json")["eos_token_id"]}
    found |= {"chat_template": (folder / "chat_template.jinja").is_file()}
    write_json(folder / "merge.json", found | {"logits_compared": False, "not_compared": why_not or "stopped before"})
    if not why_not:
        whole = str(checkpoint.fetch(found_base).folder)
        write_json(folder / "merge.json", found | logits.compare(base, whole, adapter, folder, task["language"], update))


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
