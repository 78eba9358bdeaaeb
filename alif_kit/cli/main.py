"""cli: `alif <stage>`. The same calls as the notebooks make; no logic of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from alif_kit import __version__
from alif_kit.cli.chat import chat, serve
from alif_kit.cli.config import config as show_config
from alif_kit.cli.evaluate import evaluate, gate, judge_app, print_table, print_verdict
from alif_kit.cli.options import PresetOption, RunOption, SetOption, open_run
from alif_kit.cli.pack import pack_app
from alif_kit.cli.plan import plan
from alif_kit.cli.publish import card, push
from alif_kit.cli.release import gguf, merge, quant_study
from alif_kit.cli.review import review_app
from alif_kit.cli.synth import pair, print_counts, print_funnel, synth_app
from alif_kit.core import Run, StoppedError, UserError, config
from alif_kit.core.run import latest_json
from alif_kit.platforms import machine

app = typer.Typer(
    name="alif",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From seed tasks to a tested Urdu-English assistant. Start with `alif demo`; `alif doctor` says what this machine can do.",
)
teacher_app = typer.Typer(no_args_is_help=True, help="Teachers: the models that write examples.")
app.add_typer(teacher_app, name="teacher")
app.add_typer(synth_app, name="synth")
app.add_typer(review_app, name="review")
app.add_typer(judge_app, name="judge")
app.add_typer(pack_app, name="pack")
app.command("config")(show_config)
app.command("plan")(plan)
app.command("evaluate")(evaluate)
app.command("gate")(gate)
app.command("merge")(merge)
app.command("gguf")(gguf)
app.command("quant-study")(quant_study)
app.command("card")(card)
app.command("push")(push)
app.command("chat")(chat)
app.command("serve")(serve)

HoursOption = Annotated[
    float | None, typer.Option("--hours", help="End the session, with a checkpoint, when it is this many hours old; 0 for never.")
]

GpusOption = Annotated[int, typer.Option("--gpus", min=1, help="Cards that train together; Kaggle's T4 x2 has 2.")]


def _hours(hours: float | None) -> list[str]:
    return [] if hours is None else [f"session.hours={hours}"]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["ALIF_DEBUG"] = "1"
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(run: Annotated[Path, typer.Option("--run", help="Run folder.")] = Path("runs/demo"), changes: SetOption = None) -> None:
    """The whole pipeline on a CPU: generate, pretrain, fine-tune, evaluate, report. No key, no network, no GPU."""
    from alif_kit import pipeline

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    opened = open_run(run, "smoke", changes)
    report = pipeline.walk(opened)
    print_table(opened)
    print_verdict(opened)
    typer.echo(f"report: {report}")


@app.command()
def generate(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Print what the run will cost, and stop.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the Batch API: half the price, within a day.")] = False,
    max_usd: Annotated[float | None, typer.Option(help="Stop before the run has spent more dollars.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Stop after so many requests of the run.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes of this session.")] = None,
) -> None:
    """Seeds and teacher to data/train.jsonl and data/eval.jsonl; resumes from the journal of paid answers."""
    from alif_kit import pipeline

    limits = {"max_usd": max_usd, "max_requests": max_requests, "max_minutes": max_minutes}
    given = [f"teacher.{name}={value}" for name, value in limits.items() if value is not None]
    opened = open_run(run, preset, [*(changes or []), *given])
    if estimate:
        _print_estimate(opened)
        return
    if opened.config.teacher.base_url != "demo" and not opened.done("generate"):
        _print_estimate(opened)
    counts = pipeline.generate(opened, batch=batch)
    print_funnel(latest_json(opened.file("synth", "funnel.json")))
    print_counts(opened, counts)


@app.command()
def pretrain(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    hours: HoursOption = None,
    gpus: GpusOption = 1,
) -> None:
    """Continued pretraining on running text; resumes from the last checkpoint."""
    from alif_kit.training import parallel, trainer

    opened = open_run(run, preset, [*(changes or []), *_hours(hours)])
    parallel.launch(gpus, opened.config.pretrain, "pretrain")
    _print_summary(trainer.pretrain(opened))


@app.command()
def finetune(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    hours: HoursOption = None,
    gpus: GpusOption = 1,
) -> None:
    """Fine-tuning on the generated examples and the mixture, after pretraining; resumes from the last checkpoint."""
    from alif_kit.training import parallel, trainer

    opened = open_run(run, preset, [*(changes or []), *_hours(hours)])
    parallel.launch(gpus, opened.config.finetune, "finetune")
    _print_summary(trainer.finetune(opened))


@app.command()
def report(run: RunOption = None) -> None:
    """Write report.html from whatever the run folder holds."""
    from alif_kit.report import page as reporting

    typer.echo(f"report: {reporting.build(Run.resume(run or machine.durable_folder() / 'default'))}")


@app.command()
def doctor() -> None:
    """What this machine has against what the kit expects, with one line of advice per problem."""
    from rich.console import Console
    from rich.table import Table

    from alif_kit.platforms.doctor import examine

    table = Table("what", "found", "advice", title=f"alif_kit {__version__}", title_justify="left")
    for finding in examine():
        table.add_row(finding.name, finding.found, finding.advice)
    Console().print(table)


@app.command()
def base(
    name: Annotated[str, typer.Argument(help="`tiny`: the small Llama of the smoke preset; `smollm2`: SmolLM2-135M.")] = "tiny",
) -> None:
    """Build a base checkpoint that needs no hub, and print its folder."""
    from alif_kit.model.without_hub import BUILDERS

    smoke = config.load("smoke")
    if name not in BUILDERS:
        raise UserError(f"base is {name!r}; expected {' or '.join(BUILDERS)}")
    typer.echo(BUILDERS[name](smoke.language, smoke.seed))


@teacher_app.command("demo")
def teacher_demo(
    port: Annotated[int, typer.Option(help="Port on the loopback address; 0 picks a free one.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=RATE", help="Misbehave on purpose, e.g. `--fault rate_limit=0.3`; may be repeated."),
    ] = None,
) -> None:
    """Serve the embedded demonstration teacher. It fills templates: no substitute for a real teacher."""
    from dataclasses import fields

    from alif_kit.synth.demo.teacher import Faults, serve_forever

    known = {f.name for f in fields(Faults)}
    rates = {}
    for name, value in map(pair, fault or []):
        if name not in known:
            raise UserError(f"--fault got {name!r}; expected one of {', '.join(sorted(known))}")
        rates[name] = float(value)
    serve_forever(port, Faults(**rates))


def _print_estimate(run: Run) -> None:
    from alif_kit.synth.estimate import estimate

    _print_summary(estimate(run.config, run).lines(run.config.teacher.max_usd))


def _print_summary(summary: dict[str, Any]) -> None:
    for name, value in summary.items():
        typer.echo(f"{name:<28}{value}")


def main() -> None:
    """Entry point: errors become one sentence and an exit code (2: correct the input, 1: a service or the disk failed)."""
    try:
        app()
    except (UserError, StoppedError) as error:
        if os.environ.get("ALIF_DEBUG"):
            raise
        typer.echo(f"alif: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if os.environ.get("ALIF_DEBUG"):
            raise
        typer.echo(
            f"alif: {error.strerror or error} ({error.filename}); what was written before is whole, make room and run again",
            err=True,
        )
        sys.exit(1)
