"""release: a Modelfile for Ollama beside a GGUF.

In: a GGUF and the merged model's chat template. Out: Modelfile, and with `create` a model in a local Ollama.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import write_atomic


def write(gguf: Path, merged: Path, system: str, length: int) -> Path:
    """Modelfile in the folder of the GGUF."""
    template = merged / "chat_template.jinja"
    path = gguf.with_name("Modelfile")
    write_atomic(path, modelfile(gguf.name, template.read_text("utf-8") if template.is_file() else "", system, length))
    return path


def create(name: str, folder: Path) -> None:
    """`ollama create NAME`. Raises UserError where Ollama is not installed."""
    if not shutil.which("ollama"):
        raise UserError(
            f"--ollama-create {name} needs Ollama, which is not on this machine; install it, or copy {folder} to where it is"
        )
    done = subprocess.run(["ollama", "create", name, "-f", "Modelfile"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise StoppedError(f"ollama create stopped: {(done.stderr.strip().splitlines() or ['no word'])[-1][:300]}")


def modelfile(gguf: str, chat_template: str, system: str = "", length: int = 2048) -> str:
    """An Ollama Modelfile: the file, the frame and its stops where the family is known, a system line, sampling and context."""
    families = tomllib.loads(Path(__file__).with_name("ollama.toml").read_text("utf-8")).values()
    family = next((f for f in families if f["mark"] in chat_template), None)
    lines = [f"FROM ./{gguf}"]
    if family:
        lines += [f'TEMPLATE """{family["template"]}"""', *(f'PARAMETER stop "{stop}"' for stop in family["stops"])]
    else:
        lines.append("# The frame of this family is not known here: Ollama reads the template that the GGUF carries.")
    lines += ['SYSTEM """' + system.replace('"""', '"') + '"""'] if system else []
    return "\n".join([*lines, "PARAMETER temperature 0.7", "PARAMETER top_p 0.9", f"PARAMETER num_ctx {length}"]) + "\n"
