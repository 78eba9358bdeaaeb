"""cli: `alif merge`, `alif gguf`, `alif quant-study`, `alif card` and `alif push`.

In: a finished run, or an adapter and its base. Out: release/merged, release/gguf, release/quant_study, release/README.md, what the
checks found; repositories on the Hub, or, with --dry-run, the list of what would go there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option, echo

import alif_kit as ak
from alif_kit.cli.options import FinishedRunOption, PresetOption, RunOption, SetOption, open_run, print_table, resume_run
from alif_kit.core import StoppedError, UserError
from alif_kit.platforms import machine

_HELP = {
    "adapter": "An adapter's folder instead of the run's; its base is `--set base.model=…`.",
    "forms": "Which, with commas: 16bit, 8bit and nf4 (bitsandbytes), and quantisations of GGUF.",
}
AdapterOption = Annotated[Path | None, Option("--adapter", help=_HELP["adapter"])]


def merge(run: RunOption = None, preset: PresetOption = "auto", changes: SetOption = None, adapter: AdapterOption = None) -> None:
    """The adapter becomes part of its base: 16-bit safetensors in release/merged, with tokenizer, template and SHA256SUMS.

    Works tensor by tensor on the CPU: memory holds the largest matrix, never the model. Checks each changed matrix, and, where a
    GPU or the memory holds the whole model, that its logits are those of base and adapter, and says by how much they differ. Do
    this before vLLM, GGUF or the Hub: an adapter with trained vocabulary is gigabytes, and vLLM refuses it.
    """
    opened = open_run(run, preset, changes, new=adapter is not None)
    found = ak.merge(opened, adapter)
    if "matrices" in found:
        allowed = f"rounding to 16 bit allows {found['matrix_tolerance']:.2%}"
        echo(f"{found['matrices']} matrices are base and adapter but for {found['matrix_difference']:.2%} ({allowed})")
    if "logits_difference" in found:
        allowed = f"{found['tolerance']:.0%} allowed"
        echo(f"logits of {found['n']:,} tokens differ by {found['logits_difference']:.2%} of their spread ({allowed})")
        echo(f"the same likeliest token in {found['same_top_token']:.1%} of the places")
    else:
        echo(f"logits of the whole model were not compared: {found['not_compared']}")
    echo(f"answers end at {found['ends']}")
    echo(f"merged: {opened.file('release', 'merged')}")


def gguf(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    quant: Annotated[str, Option("--quant", help="Which, with commas: f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m …")] = "q8_0",
    ollama_create: Annotated[str, Option("--ollama-create", metavar="NAME", help="Register the first file with Ollama.")] = "",
) -> None:
    """GGUF files for llama.cpp, LM Studio and Ollama in release/gguf, from the merged model, which is made first if missing.

    f16 and q8_0 need no compiler (`pip install 'alif-kit[release]'`); k-quants need llama.cpp (`pip install 'alif-kit[llama]'`).
    Each file is read back with llama.cpp: template, stops, the tokens of some hundred texts, ten answers beside the merged model's.
    One that is wrong is called x.wrong.gguf, one that could not be compared x.unchecked.gguf, and the exit code is 1.
    """
    opened = open_run(run, preset, changes, new=False)
    found = ak.gguf(opened, quant.split(","), ollama_create)
    for path, about in found.items():
        echo(f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB{_said(about)}")
    echo(f"gguf: {opened.file('release', 'gguf')}")
    _refuse({path.name: about for path, about in found.items()})


def _said(found: dict[str, Any]) -> str:
    said = [*found["faults"], *(["without the part of the model that sees pictures"] if found["text_only"] else [])]
    if "n" in found:
        stops, share = found["stops"], f"{found['agreed']:.0%} of their tokens"
        said += [f"{found['same_answers']} of {found['n']} answers are the merged model's, {share}"]
        said += [f"{stops['gguf']} end by themselves, {stops['merged']} of the merged model's"]
    return "".join(f"; {part}" for part in said)


def _refuse(found: dict[str, dict[str, Any]]) -> None:
    """Raises StoppedError that says what to do where a file is wrong, or not known to be right."""
    if wrong := [name for name, about in found.items() if about["state"] == "wrong"]:
        raise StoppedError(f"{', '.join(wrong)}: not the merged model's, for the reasons above; do not use it, and report this")
    if unchecked := {name: about["not_compared"] for name, about in found.items() if about["state"] == "unchecked"}:
        reason = next(iter(unchecked.values()))
        install = "run pip install 'alif-kit[llama]' (built from source, some minutes), then this command again"
        advice = install if "llama.cpp" in reason else "run this command again where there is more"
        raise StoppedError(f"{', '.join(unchecked)}: answers were not compared, for {reason}; {advice}: it checks and renames")


def quant_study(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    forms: Annotated[str, Option("--forms", help=_HELP["forms"])] = "16bit,8bit,nf4,q8_0,q5_k_m,q4_k_m",
    limit: Annotated[int, Option("--limit", min=2, help="Examples of each set: documents, questions, word problems.")] = 48,
) -> None:
    """What quantisation costs: size, memory, speed, bits per byte, multiple choice and exact numbers of each form of the model.

    Each form is measured in a process of its own on the same examples, with 95 % intervals and the paired difference to 16 bit
    (starred where its interval excludes zero); a plot and a sentence of advice come with it. Finished forms are kept.
    """
    from alif_kit import pipeline
    from alif_kit.quantisation import study

    opened = open_run(run, preset, changes, new=False)
    results = pipeline.quant_study(opened, [form.strip() for form in forms.split(",") if form.strip()], limit)
    print_table(*study.table(results, opened.config.language))
    for form, reason in results["missing"].items():
        echo(f"not measured: {form}: {reason}")
    echo(results["advice"])
    echo(f"plot: {opened.file('release', 'quant_study', 'plot.svg')}")


def card(
    run: FinishedRunOption = None,
    to: Annotated[str, Option("--to", metavar="OWNER/NAME", help="The repository that its examples name.")] = "",
) -> None:
    """The model card in release/README.md: base and terms, data, recipe, cost, evaluation beside the base, gate, how to run it.

    Every number comes from the run's files; what has not been done is said. `alif push` writes one for each repository.
    """
    from alif_kit import pipeline
    from alif_kit.release import hub

    opened = resume_run(run)
    path, facts = pipeline.card(opened, to), pipeline.card_facts(opened)
    for sentence in [*facts["causes"], *hub.agreements_lacking(opened, facts["terms"])]:
        echo(f"note: {sentence}", err=True)
    echo(f"card: {path}")


def push(
    to: Annotated[str, Option("--to", metavar="OWNER/NAME", help="User or organisation, and the model's name.")],
    run: FinishedRunOption = None,
    what: Annotated[str, Option("--what", help="Which, with commas: merged, adapter, gguf; left out, all that the run has.")] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="List files and sizes, and send nothing: no token, no network.")] = False,
    public: Annotated[bool, Option("--public", help="Let everybody see it; private otherwise.")] = False,
    no_gate: Annotated[bool, Option("--no-gate", help="Publish without a pass of the gate; the card says so.")] = False,
) -> None:
    """Merged model, adapter and GGUF to the Hub, each into its own repository: NAME, NAME-LoRA, NAME-GGUF.

    Each gets its card, the licence's notice and SHA256SUMS. Sums are verified first. The key is the secret HF_TOKEN. Cut off, the
    same command goes on where it was.
    """
    from alif_kit import pipeline
    from alif_kit.release import hub

    opened = resume_run(run)
    facts = pipeline.card_facts(opened)
    repositories = hub.plan(opened, to, [kind.strip() for kind in what.split(",") if kind.strip()], facts, public=public)
    for repository in repositories:
        print_files(repository, "public" if public else "private")
    if facts["causes"] and not no_gate:
        raise UserError(
            f"the gate has not passed this model: {'; '.join(facts['causes'])}; --no-gate publishes it all the same, and says so"
        )
    for sentence in [*hub.agreements_lacking(opened, facts["terms"]), *hub.left_here(opened)]:
        echo(f"note: {sentence}", err=True)
    if dry_run:
        echo("dry run: nothing was sent")
        return
    for address, is_private in hub.send(repositories, machine.secret("HF_TOKEN"), private=not public).items():
        echo(f"sent, {'private' if is_private else 'public'}: {address}")
        if public and is_private:
            echo("note: it was there and private; make it public in its settings on the Hub", err=True)


def print_files(repository: Any, seen_by: str) -> None:
    """A repository's name, then its files with their sizes."""
    sizes = repository.sizes()
    echo(f"{repository.id} ({seen_by}), {repository.kind}: {len(sizes)} files, {readable(sum(sizes.values()))}")
    for name, size in sorted(sizes.items()):
        echo(f"  {readable(size):>10}  {name}")


def readable(size: int) -> str:
    """`1_540_000` → `"1.5 MB"`."""
    units = ("B", "kB", "MB", "GB")
    power = min(len(units) - 1, max(0, (len(str(size)) - 1) // 3))
    return f"{size / 1000**power:.1f} {units[power]}" if power else f"{size} B"
