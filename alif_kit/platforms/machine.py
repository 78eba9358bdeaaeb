"""platforms: where this runs, what it has, where secrets are and where files survive.

In: environment variables, importable modules, the GPU driver. Out: facts with a reason a person can read. Kaggle is tested
before Colab, because a Kaggle kernel also exports COLAB_* variables.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alif_kit.core import UserError

KAGGLE_WORKING = Path("/kaggle/working")
DRIVE = Path("/content/drive/MyDrive")
OLDEST = (7, 0)
"""Compute capability below which today's torch has no kernels: a P100 is 6.0, a T4 7.5."""


@dataclass(frozen=True)
class Gpu:
    """One CUDA card as its driver reports it; VRAM in GiB."""

    name: str
    vram_gib: float
    capability: tuple[int, int]

    @property
    def fp16(self) -> bool:
        """Half precision at full speed: compute capability 5.3 and later."""
        return self.capability >= (5, 3)

    @property
    def bf16(self) -> bool:
        """bfloat16 in hardware: Ampere (8.0) and later; a T4 (7.5) has none."""
        return self.capability >= (8, 0)


@dataclass(frozen=True)
class Facts:
    """What `detect` found. `advice` holds one sentence per thing the person should switch."""

    platform: str
    gpu: Gpu | None
    reason: str
    advice: tuple[str, ...] = ()


def detect() -> Facts:
    """Platform (`kaggle`, `colab`, `local`), first GPU, and why it says so."""
    platform, reason = _platform()
    gpus = query_gpus()
    gpu = gpus[0] if gpus else None
    what = f"{gpu.name}, {gpu.vram_gib:.1f} GiB" if gpu else "no CUDA card answers nvidia-smi"
    return Facts(platform, gpu, f"{reason}; {what}", tuple(_advice(platform, gpus)))


@lru_cache
def gpu_table() -> dict[str, Any]:
    """gpus.toml: a table per card by short name, and `price_date`, the day of the GPU-hour prices."""
    return tomllib.loads(Path(__file__).with_name("gpus.toml").read_text("utf-8"))


def name() -> str:
    """`kaggle`, `colab` or `local`, without asking for a card or the network."""
    return _platform()[0]


def _platform() -> tuple[str, str]:
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") and KAGGLE_WORKING.is_dir():
        return "kaggle", f"KAGGLE_KERNEL_RUN_TYPE is set and {KAGGLE_WORKING} exists"
    with suppress(ModuleNotFoundError, ValueError):  # without `google`, or with a module that was put there by hand
        if importlib.util.find_spec("google.colab"):
            return "colab", "the module google.colab is importable"
    return "local", "neither Kaggle's nor Colab's marks are here"


def query_gpus() -> list[Gpu]:
    """The cards nvidia-smi lists, without importing torch; CUDA_VISIBLE_DEVICES='' hides all of them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [_gpu(line) for line in answer.splitlines() if line.count(",") == 2]


def _gpu(line: str) -> Gpu:
    name, mib, capability = (part.strip() for part in line.split(","))
    major, minor = capability.split(".")
    return Gpu(name, float(mib) / 1024, (int(major), int(minor)))


def _advice(platform: str, gpus: list[Gpu]) -> list[str]:
    advice = []
    if gpus and gpus[0].capability < OLDEST:
        advice.append(f"{_too_old(platform, gpus[0])}.")
    if not gpus and platform == "colab":
        advice.append("This Colab session has no GPU: Runtime, Change runtime type, T4 GPU, Save.")
    if not gpus and platform == "kaggle":
        advice.append("This Kaggle session has no GPU: Settings, Accelerator, choose GPU T4 x2.")
    if len(gpus) > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        one = "for one, set CUDA_VISIBLE_DEVICES=0 before torch is imported"
        advice.append(f"Several GPUs are visible: `--gpus 2` trains on both; {one}.")
    if platform == "kaggle" and not has_internet():
        advice.append("Internet is off: Settings, Internet, switch it on (a phone-verified account is needed).")
    return advice


def refuse(facts: Facts) -> None:
    """Raises UserError, with where to click, for a card that today's torch cannot use; no card at all is no reason."""
    if facts.gpu and facts.gpu.capability < OLDEST:
        raise UserError(_too_old(facts.platform, facts.gpu))


def _too_old(platform: str, gpu: Gpu) -> str:
    major, minor = gpu.capability
    where = {
        "kaggle": "Settings, Accelerator, choose GPU T4 x2",
        "colab": "Runtime, Change runtime type, choose a T4 or newer",
        "local": "choose a T4 or newer, or hide it with CUDA_VISIBLE_DEVICES=-1 and work on the CPU",
    }[platform]
    return (
        f"{gpu.name} (compute capability {major}.{minor}) is too old for today's torch, which needs 7.0 "
        f"and fails at the first CUDA operation: {where}"
    )


def has_internet(host: str = "huggingface.co", seconds: float = 3.0) -> bool:
    """Whether a connection to the model hub, or to its mirror `host`, can be opened."""
    import socket

    try:
        with socket.create_connection((host, 443), timeout=seconds):
            return True
    except OSError:
        return False


def pick_preset(facts: Facts) -> tuple[str, str]:
    """The preset for `--preset auto` and the reason: `smoke` without a usable GPU, else `t4`; `paper` is only ever asked for."""
    if facts.gpu and facts.gpu.capability >= OLDEST:
        return "t4", f"{facts.gpu.name} with {facts.gpu.vram_gib:.1f} GiB"
    why = f"{facts.gpu.name} cannot run today's torch" if facts.gpu else "no GPU"
    return "smoke", f"{why}: the small demonstration on the CPU"


def durable_folder() -> Path:
    """Where runs outlive a session: Drive if it is mounted, /kaggle/working, else ./runs."""
    if name() == "kaggle":
        return KAGGLE_WORKING / "runs"
    if name() == "colab" and drive_mounted():
        return DRIVE / "alif_kit" / "runs"
    return Path("runs")


def drive_mounted() -> bool:
    """Whether Drive answers; a mount whose process has died raises instead of saying no."""
    try:
        return DRIVE.is_dir()
    except OSError:
        return False


def scratch_folder() -> Path | None:
    """A bigger disk for files that are deleted again: Kaggle's /tmp, whose working folder holds 20 GB only; None elsewhere."""
    return Path("/tmp") if name() == "kaggle" else None


_CLICK_PATH = {
    "colab": "click the key icon in the left bar, Add new secret, name it {name}, and switch on Notebook access",
    "kaggle": "open Add-ons, Secrets, add {name} and tick its box; after a fork of the notebook, tick it again",
    "local": "set it for this shell: export {name}=…",
}
_NO_ANSWER = (
    "Colab did not answer when asked for the secret {name} ({cause}): it answers only while this notebook is open in a browser; "
    "open it there and run the cell again, and if {name} is not there yet, {click}"
)
_NOT_ATTACHED = "the secret {name} is not attached to this notebook ({cause}); {click}"
_CAUSES = {
    "colab SecretNotFoundError": "Colab holds no secret {name}; {click}",
    "colab NotebookAccessError": "Colab holds the secret {name}, but this notebook may not read it; "
    "click the key icon in the left bar and switch on Notebook access beside {name}",
    "colab TimeoutException": _NO_ANSWER,
    "colab TimeoutError": _NO_ANSWER,
    # A process that is not the kernel has no channel to the browser, and Colab's code trips over that.
    "colab AttributeError": "Colab shows its secrets to the cells of a notebook, not to a command behind `!`; in a cell before it, "
    "write: import os; from google.colab import userdata; os.environ['{name}'] = userdata.get('{name}')",
    "kaggle BackendError": _NOT_ATTACHED,
    "kaggle NotFoundError": _NOT_ATTACHED,
    # Kaggle's client says so for a refusal, too.
    "kaggle ConnectionError": "Kaggle did not give out the secret {name} ({cause}): switch on Settings, Internet; then {click}",
    "kaggle CredentialError": "Kaggle gave this session no right to read secrets ({cause}): Run, Restart session; then {click}",
}
"""What stands in the way of a secret, by platform and class of the store's error, and what to do."""


def secret(name: str) -> str:
    """A key by name from the environment, then from Colab's or Kaggle's store.

    Raises UserError with the click path when it is nowhere. The value is never logged.
    """
    value, cause = _look_up(name)
    if value:
        return value
    platform, _ = _platform()
    unknown = "the secret {name} could not be read ({cause}); {click}" if cause else "the secret {name} was not found; {click}"
    sentence = _CAUSES.get(f"{platform} {cause}", unknown)
    raise UserError(sentence.format(name=name, cause=cause, click=_CLICK_PATH[platform].format(name=name)))


def find_secret(name: str) -> str:
    """Like `secret`, but the empty string when it is nowhere."""
    return _look_up(name)[0]


def _look_up(name: str) -> tuple[str, str]:
    """The value, and the class of the store's error when it gave none; an error's text may quote an answer and goes nowhere."""
    if os.environ.get(name):
        return os.environ[name], ""
    platform, value = _platform()[0], ""
    try:
        if platform == "colab":
            from google.colab import userdata

            value = userdata.get(name)
        elif platform == "kaggle":
            from kaggle_secrets import UserSecretsClient

            value = UserSecretsClient().get_secret(name)
    except Exception as error:  # the stores' classes cannot be imported elsewhere
        return "", type(error).__name__
    return (value or "").strip(), ""
