"""Several processes: the launcher's command line, the divided accumulation, and two of them on this CPU that train as one does."""

import csv
import os
import subprocess
import sys

import pytest
from conftest import PATIENCE

from alif_kit.core import config
from alif_kit.core.config import Optimisation
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.training import parallel, trainer

CHANGES = {"pretrain.max_steps": 6, "pretrain.gradient_accumulation": 2, "pretrain.batch_size": 4, "pretrain.save_steps": 3}
TRAIN = """
import os, sys
from alif_kit.core.errors import StoppedError
from alif_kit.core.run import Run
from alif_kit.training import callback, trainer
stop = int(sys.argv[2])
count = callback.Watch.step_done
def step_done(self):
    count(self)
    if stop and os.environ["RANK"] == "1" and len(self.steps) == stop:
        self.reason = "SIGTERM received"
callback.Watch.step_done = step_done
try:
    trainer.pretrain(Run.resume(sys.argv[1]))
except StoppedError as error:
    print("stopped:", error)
"""


def in_two_processes(run, tmp_path, stop=0):
    """`alif pretrain` in two processes over gloo; `stop`: the step after which the second one is asked to end."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    engine = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", str(script)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*engine, str(run.path), str(stop)], capture_output=True, text=True, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def losses(run):
    with run.file("pretrain", "metrics.csv").open() as file:
        return [(row["step"], float(row["loss"]), float(row["learning_rate"])) for row in csv.DictReader(file)]


def make_run(path):
    return Run.open(path, config.load("smoke", CHANGES))


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_a_run_may_change_their_number(tmp_path):
    one, two, mixed = (make_run(tmp_path / name) for name in ("one", "two", "mixed"))
    trainer.pretrain(one)
    in_two_processes(two, tmp_path)
    assert [[round(v, 4) for v in row[1:]] for row in losses(two)] == [[round(v, 4) for v in row[1:]] for row in losses(one)]
    assert [line["status"] for line in two.ledger()] == ["done"]
    assert two.file("pretrain", "adapter", "adapter_model.safetensors").is_file() and not list(
        two.path.glob("pretrain/checkpoint-*")
    )
    assert "stopped: pretrain stopped at step 2 of 6" in in_two_processes(mixed, tmp_path, stop=2)
    assert [p.name for p in mixed.path.glob("pretrain/checkpoint-*")] == ["checkpoint-2"]
    trainer.pretrain(mixed)
    assert [round(row[1], 3) for row in losses(mixed)] == [round(row[1], 3) for row in losses(one)]


def test_the_launcher_gets_the_same_command_without_its_number():
    line = parallel.command(2, ["pretrain", "--gpus", "2", "--run", "r", "--set", "a=b"])
    assert line[:3] == [sys.executable, "-m", "accelerate.commands.launch"] and "--multi_gpu" in line
    assert line[line.index("--num_processes") + 1] == "2"
    assert line[line.index("-m", 3) :] == ["-m", "alif_kit.cli", "pretrain", "--run", "r", "--set", "a=b"]
    assert parallel._without(["finetune", "--gpus=4", "--run", "r"]) == ["finetune", "--run", "r"]


def test_accelerate_knows_every_option_of_the_line():
    from accelerate.commands.launch import launch_command_parser

    known = launch_command_parser().parse_args(parallel.command(2, ["pretrain"])[3:])
    assert (known.num_processes, known.multi_gpu, known.module, known.training_script) == (2, True, True, "alif_kit.cli")


def test_a_step_keeps_its_rows():
    assert parallel.divided(Optimisation(gradient_accumulation=4), "pretrain", 2).gradient_accumulation == 2
    with pytest.raises(
        UserError, match="pretrain.gradient_accumulation is 3, which 2 processes cannot share; expected a multiple of 2"
    ):
        parallel.divided(Optimisation(gradient_accumulation=3), "pretrain", 2)


def test_more_cards_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "_replace", lambda line: pytest.fail("started"))
    with pytest.raises(UserError, match="--gpus is 2, but this machine shows 0"):
        parallel.launch(2, Optimisation(gradient_accumulation=4), "pretrain")


def test_the_processes_themselves_start_no_others(monkeypatch):
    monkeypatch.setattr(parallel, "_replace", lambda line: pytest.fail("started"))
    parallel.launch(1, Optimisation(), "pretrain")
    monkeypatch.setenv("WORLD_SIZE", "2")
    parallel.launch(2, Optimisation(gradient_accumulation=4), "pretrain")


def test_cards_that_are_there_are_used(monkeypatch):
    import torch

    lines = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(parallel, "_replace", lines.append)
    monkeypatch.setattr(sys, "argv", ["alif", "pretrain", "--gpus", "2"])
    parallel.launch(2, Optimisation(gradient_accumulation=4), "pretrain")
    assert lines[0][-2:] == ["alif_kit.cli", "pretrain"]


def test_alone_there_is_nothing_to_wait_for():
    with parallel.main_first():
        parallel.wait()
    assert parallel.is_main() and parallel.any_of(True) and not parallel.any_of(False)
