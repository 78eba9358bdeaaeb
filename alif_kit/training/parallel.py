"""training: data-parallel over the cards of one machine, or of many, by `accelerate launch`, an engine that others keep.

In: the command line and a number of processes. Out: as many processes of the same command, each with its own card, which share
every step: their gradients are averaged. The first one prepares data, writes files and shows progress; the others wait for it and
read. A step has the rows of one process's step: the gradient accumulation is divided, so a run can go from one card to two and
back with the same losses.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NoReturn

from alif_kit.core import UserError
from alif_kit.core.config import Optimisation


def command(processes: int, arguments: list[str]) -> list[str]:
    """The command line that starts `processes` of `alif` with these arguments, `--gpus` left out."""
    engine = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    plain = ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*engine, *plain, "-m", "alif_kit.cli", *_without(arguments)]


def _without(arguments: list[str]) -> list[str]:
    """`["pretrain", "--gpus", "2", "--run", "r"] -> ["pretrain", "--run", "r"]`."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--gpus")
    return own.parse_known_args(arguments)[1]


def launch(processes: int, opt: Optimisation, stage: str) -> None:
    """Start so many processes of this command in its place; with 1, or inside one of them, nothing happens.

    Raises UserError when the accumulation does not divide, or the machine has fewer cards.
    """
    if processes <= 1 or world_size() > 1:
        return
    divided(opt, stage, processes)
    import torch

    cards = torch.cuda.device_count()
    if cards < processes:
        raise UserError(f"--gpus is {processes}, but this machine shows {cards}; expected at most that many")
    _replace(command(processes, sys.argv[1:]))


def _replace(line: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(line[0], line)


def divided(opt: Optimisation, stage: str, processes: int) -> Optimisation:
    """The settings of one of so many processes: a step of all of them has as many rows as a step of one had."""
    if opt.gradient_accumulation % processes:
        raise UserError(
            f"{stage}.gradient_accumulation is {opt.gradient_accumulation}, which {processes} processes cannot share; "
            f"expected a multiple of {processes}"
        )
    return replace(opt, gradient_accumulation=opt.gradient_accumulation // processes)


def world_size() -> int:
    """Processes that train together, over all machines; 1 unless a launcher said otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes files and shows progress."""
    return int(os.environ.get("RANK", "0")) == 0


def main_first() -> AbstractContextManager[None]:
    """The first process runs the body alone, then the others, which find its files."""
    return nullcontext() if world_size() == 1 else _state().main_process_first()


def wait() -> None:
    """Until every process has come here."""
    if world_size() > 1:
        _state().wait_for_everyone()


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process: a stop that only one of them sees would leave the others waiting for ever."""
    if world_size() == 1:
        return flag
    import torch

    value = torch.tensor(int(flag), device=_state().device)
    torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MAX)
    return bool(value.item())


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState() if torch.cuda.is_available() else PartialState(cpu=True)  # asked for, or it calls a CPU alone
