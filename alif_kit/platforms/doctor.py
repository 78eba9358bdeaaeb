"""platforms: `alif doctor`, what this machine has, what the kit expects, and one line of advice per problem."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from alif_kit.platforms import install, machine

SECRETS = ("OPENAI_API_KEY", "HF_TOKEN", "OPENROUTER_API_KEY", "AZURE_OPENAI_API_KEY")
FREE_GIB = 5.0


class Finding(NamedTuple):
    """One line of the doctor: what was looked at, what was found, advice when it needs any."""

    name: str
    found: str
    advice: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """All findings, in the order they print."""
    facts = machine.detect()
    python = ".".join(map(str, sys.version_info[:3]))
    too_old = "" if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is supported; install one of these."
    findings = [Finding("platform", f"{facts.platform} ({facts.reason})"), Finding("python", python, too_old)]
    findings += [Finding("advice", "see right", sentence) for sentence in facts.advice]
    findings += [_gpu(facts), _disk(folder or machine.durable_folder())]
    findings += [_package(name, pin, extra) for name, pin, extra in pins()]
    return [*findings, _secrets()]


def pins() -> list[tuple[str, str, str]]:
    """Name, version range and extra of each requirement the installed kit declares: one list, read from its metadata."""
    plain = install.declared([])
    return [(r.name, str(r.specifier), "" if r in plain else install.UNSLOTH) for r in install.declared([install.UNSLOTH])]


def _package(name: str, pin: str, extra: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    version = install._version(name)
    if not version:
        no_deps = "--no-deps " if extra == "unsloth" else ""
        return Finding(name, "not installed", f"pip install {no_deps}'{name}{pin}'")
    if pin and not SpecifierSet(pin).contains(version, prereleases=True):
        return Finding(name, f"{version}, expected {pin}", f"pip install '{name}{pin}'")
    return Finding(name, f"{version} {f'({pin})' if pin else ''}".strip())


def _gpu(facts: machine.Facts) -> Finding:
    if facts.gpu is None:
        return Finding("gpu", "none", "Only the smoke preset runs here; for a real model use a Colab or Kaggle T4.")
    gpu = facts.gpu
    types = " ".join(name for name, has in (("fp16", gpu.fp16), ("bf16", gpu.bf16)) if has)
    major, minor = gpu.capability
    return Finding("gpu", f"{gpu.name}, {gpu.vram_gib:.1f} GiB, compute capability {major}.{minor}, {types}")


def _disk(folder: Path) -> Finding:
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    advice = f"Under {FREE_GIB:.0f} GiB free where runs are kept; delete old runs or choose another --run folder."
    return Finding("disk", f"{free:.1f} GiB free for {folder}", advice if free < FREE_GIB else "")


def _secrets() -> Finding:
    """Names only: whether a key is there, never what it is."""
    found = [name for name in SECRETS if machine.find_secret(name)]
    advice = "" if found else "No key found; the demo needs none, a paid teacher needs the one named by teacher.key_name."
    return Finding("secrets", ", ".join(found) or "none", advice)
