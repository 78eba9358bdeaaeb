"""platforms: puts what the kit needs into a notebook image that keeps its own torch, numpy and pillow.

In: the requirements that the installed kit declares, pins.toml, the image's packages. Out: two runs of pip, a restart of the kernel
where one is needed, or one sentence on what stands in the way. Standard library only: it runs before anything else is there.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PINS = Path(__file__).with_name("pins.toml")
UNSLOTH = "unsloth"
"""The extra of pyproject.toml that is installed without its dependencies: they would replace the image's torch."""


def pins() -> dict[str, Any]:
    """The pin table: `keep`, `extras`, `cuda`, `xformers`."""
    return tomllib.loads(PINS.read_text("utf-8"))


def declared(extras: Sequence[str]) -> list[Any]:
    """The requirements of the installed kit, those of `extras` included, as packaging's Requirement."""
    found = [_requirement_class()(line) for line in metadata.requires("alif-kit") or []]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in ("", *extras))]


def _requirement_class() -> Any:
    """packaging's class, from where it is: the library itself, or pip's copy of it."""
    for module in ("packaging.requirements", "pip._vendor.packaging.requirements"):
        try:
            return importlib.import_module(module).Requirement
        except ImportError:
            continue
    raise SystemExit("pip is missing from this Python, so nothing can be installed; choose another image, or install pip")


def wanted(torch: str, extras: Sequence[str] | None = None) -> tuple[list[Any], list[Any]]:
    """What an image with this torch needs: with its dependencies, and without."""
    table, requirement = pins(), _requirement_class()
    with_dependencies = declared(table["extras"] if extras is None else extras)
    alone = [r for r in declared([UNSLOTH]) if r not in declared([])]
    if is_cuda(torch):
        with_dependencies += map(requirement, table["cuda"]["requirements"])
        minor = ".".join(torch.split(".")[:2])
        alone += [requirement(f"xformers=={version}") for torch_minor, version in table["xformers"].items() if torch_minor == minor]
    return with_dependencies, alone


def is_cuda(torch: str) -> bool:
    """Whether a torch of this version is for a card; a version that does not say so is judged by whether a driver is here."""
    _, _, local = torch.partition("+")
    return local.startswith("cu") or (not local and shutil.which("nvidia-smi") is not None)


def unmet(requirements: Sequence[Any]) -> list[Any]:
    """Those that the installed packages do not meet."""
    here = [(r, _version(r.name)) for r in requirements]
    return [r for r, version in here if not version or not r.specifier.contains(version, prereleases=True)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def commands(torch: str, constraints: Path) -> list[list[str]]:
    """Arguments of pip for an image with this torch: what has dependencies, under the constraints; then what must not bring any."""
    with_dependencies, alone = (list(map(_plain, part)) for part in wanted(torch))
    return [
        ["install", "--quiet", "--upgrade-strategy=only-if-needed", "--constraint", str(constraints), *with_dependencies],
        ["install", "--quiet", "--no-deps", *alone],
    ]


def _plain(requirement: Any) -> str:
    """A requirement as pip takes it on the command line, without the marker that has been judged."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def into_image() -> None:
    """Install what is missing, from the kernel of a notebook. Running it again costs a second.

    Raises SystemExit with one sentence when pip fails. When a package that the kernel has loaded was replaced: says so, restarts
    it, and raises SystemExit so that no cell runs in between.
    """
    torch, began = _version("torch"), time.monotonic()
    if not unmet([r for part in wanted(torch) for r in part]):
        print("Everything alif_kit needs is here; nothing was installed, and no restart is needed.")
        return
    before = _versions()
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        kept = {name: _version(name) for name in pins()["keep"]}
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items() if version), "utf-8")
        for step, (what, arguments) in enumerate(zip(("libraries", "unsloth"), commands(torch, constraints), strict=True), 1):
            print(f"{step} of 2: {what} …", flush=True)
            _pip(arguments)
    importlib.invalidate_caches()
    kept_now = ", ".join(f"{name} {version}" for name, version in kept.items() if version)
    print(f"Installed in {time.monotonic() - began:.0f} s{'; kept ' + kept_now if kept_now else ''}.")
    _restart_if_needed(stale(before, _versions()))


def _pip(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(sentence(done.stderr))


OFFLINE = (
    "connection broken by",  # what pip says at each retry, whatever is in the way: no route, a proxy that refuses
    *("NameResolutionError", "name resolution", "establish a new connection", "Network is unreachable", "ConnectTimeout"),
)


def sentence(said: str) -> str:
    """What pip's errors mean for a person, and what to do."""
    if "No space left" in said:
        return "The disk is full: delete files you do not need, or restart the session, and run this cell again."
    if "ResolutionImpossible" in said or "conflicting dependencies" in said:
        kept = ", ".join(f"{name} {_version(name) or 'missing'}" for name in pins()["keep"])
        return f"This image ({kept}) and the kit's pins cannot be brought together; take a newer version of the kit, or report it."
    # After the two above: a connection may also break once, be retried with success, and not be the reason.
    if any(mark in said for mark in OFFLINE):
        if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
            return (
                "The package index does not answer, as when Internet is off: open Settings (right), switch on Internet "
                "(a phone-verified account is needed), and run again."
            )
        return "The package index cannot be reached: check the connection, and run this cell again."
    last = [line.strip() for line in said.splitlines() if line.strip()]
    return f"pip could not install what the kit needs: {last[-1] if last else 'it gave no reason'}; run this cell again."


def _versions() -> dict[str, str]:
    """Installed versions; of two copies the one found first, which is the one that imports."""
    found: dict[str, str] = {}
    for dist in metadata.distributions():
        if dist.name:
            found.setdefault(_normal(dist.name), dist.version)
    return found


def _normal(name: str) -> str:
    """A name as PEP 503 writes it: a newer release may spell its own name in another way."""
    return re.sub(r"[-_.]+", "-", name).lower()


def stale(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Packages that were replaced while this process has the old ones loaded."""
    changed = {name for name, version in before.items() if after.get(name) != version}
    owners = metadata.packages_distributions()
    loaded = {name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}
    return sorted({owner for name in loaded & owners.keys() for owner in map(_normal, owners[name]) if owner in changed})


def _restart_if_needed(replaced: list[str]) -> None:
    if not replaced:
        print("No restart is needed.")
        return
    names, kernel = ", ".join(replaced), _kernel()
    if kernel is None:
        print(f"{names} had been loaded and changed: what is loaded stays as it was until this Python is started again.")
        return
    print(f"{names} had been loaded and changed, so the kernel restarts now: run the cells again from the top.", flush=True)
    _restart(kernel)
    raise SystemExit("restarting")  # the error makes the kernel abort the cells that are waiting


def _restart(kernel: Any) -> None:
    """Let the kernel go after this cell, and run nothing in it until then.

    `do_shutdown` stops the kernel's loop a tenth of a second later, whether or not its replies are out, and showing this cell's
    error can take longer than that. So it is called by the loop itself, once this cell's reply is sent, with time for the others'.
    """

    async def refuse(*_: Any, **__: Any) -> dict[str, Any]:
        return {"status": "aborted", "execution_count": kernel.execution_count}

    kernel.do_execute = refuse  # a cell that comes after the waiting ones were aborted
    kernel.io_loop.add_callback(kernel.io_loop.call_later, REPLIES_S, kernel.do_shutdown, True)


REPLIES_S = 2.0
"""Seconds that a kernel which is going leaves for its replies."""


def _kernel() -> Any:
    """The kernel that can be restarted; None in a plain Python, and in Kaggle's saved run, where it would end the run."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return None if os.environ.get("KAGGLE_KERNEL_RUN_TYPE") == "Batch" else getattr(shell, "kernel", None)
