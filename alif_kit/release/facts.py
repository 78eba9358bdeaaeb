"""release: what a model card says, gathered from the run's files before any of it is put into words.

In: config.json, ledger.jsonl, funnel, corpus and mixture counts, summaries, results.json, gate.json, merge.json, emissions.csv;
what higher floors have put together of them (evaluation table, stages, sample rows). Out: one dictionary for the template. What
a run has not done is None or empty; no number is invented.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from alif_kit import __version__
from alif_kit.core import Config, Run
from alif_kit.core.records import CATEGORIES, read_jsonl
from alif_kit.core.run import latest_json
from alif_kit.languages import pack
from alif_kit.model.chat_format import ALPACA_ANSWER, ALPACA_USER
from alif_kit.model.checkpoint import FIT
from alif_kit.platforms import machine
from alif_kit.release import gguf, logits, merge, terms

PAPER_USD = 100  # [Alif] what its authors say that training cost at most
TUNED = "finetune/adapter"


def gather(run: Run, comparison: list[dict[str, Any]], stages: list[dict[str, Any]], samples: list[Any]) -> dict[str, Any]:
    """Everything the card says, whatever repository it is for.

    `comparison`, `stages`, `samples`: the evaluation table, the ledger by stage and training rows, as the report makes them.
    """
    results, config = _json(run.file("evaluation", "results.json")), run.config
    fit = _json(run.file("finetune", "adapter", FIT)) or {}
    # A folder that `alif fit` made goes by the name, and under the terms, of the base that it was made of.
    base = config.base.model if config.base.fit_rows else fit.get("base", config.base.model)
    return {
        "run": run.path.resolve().name,
        "version": __version__,
        "config": config,
        "language": pack.settings(config.language)["name"],
        "base": terms.public_name(base),
        "base_id": terms.hub_id(base),
        "terms": terms.owed(base, config.teacher.model),
        "fit": fit,
        "toy": _toy(config),
        "counts": {side: _count(run.file("data", f"{side}.jsonl")) for side in ("train", "eval")},
        "categories": CATEGORIES,
        "funnel": _json(run.file("synth", "funnel.json")),
        "corpus": _corpus(run),
        "mixture": _json(run.file("finetune", "mixture.json")),
        "datasets": _datasets(run),
        "training": [_training(run, stage, stages) for stage in ("pretrain", "finetune") if run.done(stage)],
        "cost": _cost(run, stages),
        "carbon": _carbon(run),
        "results": results,
        "comparison": comparison,
        "gate": _json(run.file("evaluation", "gate.json")),
        "causes": gate_causes(run),
        "kinds": kinds(run),
        "merge": _json(run.file("release", "merged", "merge.json")),
        "gguf": [_gguf(path) for path in gguf_files(run)],
        "samples": samples,
        "study": None,
        "question": logits.PROMPTS[0] if config.language == "ur" else "Hello!",
        "frame": (ALPACA_USER, ALPACA_ANSWER) if config.base.chat_format == "alpaca" else None,
    }


def kinds(run: Run) -> list[str]:
    """What of this run can be published. An adapter that stands on an unpublished merge of pretraining is of use to nobody."""
    stands_alone = run.config.lora.after_pretraining == "continue"
    there = {
        "merged": run.file("release", "merged", merge.SUMS).is_file(),
        "adapter": stands_alone and run.file("finetune", "adapter", "adapter_model.safetensors").is_file(),
        "gguf": bool(gguf_files(run)),
    }
    return [kind for kind, found in there.items() if found]


def gguf_files(run: Run) -> list[Path]:
    """The GGUF files that were read back and are right: no unchecked or wrong ones, and not what k-quants are made of."""
    return [path for path in sorted(run.file("release", "gguf").glob("*.gguf")) if gguf.is_right(path)]


def _json(path: Path) -> Any:
    return latest_json(path) if path.is_file() else None


def _toy(config: Config) -> list[str]:
    """Why nobody should take this for a model to use; empty for a real one."""
    reasons = []
    if config.base.model == "tiny":
        reasons.append("its base is a Llama of a few million parameters that has read a handful of pages and cannot converse")
    if config.teacher.base_url == "demo":
        reasons.append("its examples come from the kit's embedded demonstration teacher, which fills templates")
    if config.preset in ("smoke", "cpu") and not reasons:
        reasons.append(f"it was made with the preset `{config.preset}`, which is for trying the kit on a CPU")
    return reasons


def _count(path: Path) -> dict[str, int]:
    return dict(Counter(row["category"] for row in read_jsonl(path))) if path.is_file() else {}


def _corpus(run: Run) -> list[dict[str, Any]]:
    """What continued pretraining read, in the language and in English."""
    funnel = _json(run.file("pretrain", "corpus_funnel.json")) or {}
    return [part | {"source": terms.public_name(part["source"])} for part in funnel.values() if part.get("documents_read")]


def _datasets(run: Run) -> list[str]:
    """Hub ids of the data sets that went in, as far as the run's files name them."""
    config, mixture = run.config, _json(run.file("finetune", "mixture.json")) or {"sources": {}}
    read = [config.corpus.source, config.corpus.replay] if run.done("pretrain") else []
    ids = ["wikimedia/wikipedia" if source == "wikipedia" else terms.hub_id(source.split(":")[0]) for source in read]
    urls = [source["url"] for source in mixture["sources"].values() if source["rows_used"]]
    ids += [url.partition("huggingface.co/datasets/")[2] for url in urls]
    return sorted({name for name in ids if name})


def _training(run: Run, stage: str, stages: list[dict[str, Any]]) -> dict[str, Any]:
    line = next(line for line in stages if line["stage"] == stage)
    return {
        "name": {"pretrain": "continued pretraining", "finetune": "fine-tuning"}[stage],
        "settings": getattr(run.config, stage),
        "summary": _json(run.file(stage, "summary.json")),
        "tokens": line["tokens_in"],
        "hours": line["seconds"] / 3600,
    }


def _cost(run: Run, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Dollars and hours. The card's name is kept by plan.json, its price and watts by gpus.toml; unknown ones stay None."""
    trained = [line for line in stages if line["stage"] in ("pretrain", "finetune")]
    on_gpu = sum(line["seconds"] for line in trained if line["device"].startswith("cuda")) / 3600
    plans = (_json(run.file(stage, "plan.json")) for stage in ("finetune", "pretrain"))
    name = next((plan["planned"]["gpu"] for plan in plans if plan), None)
    gpus = machine.gpu_table()
    card = gpus.get(name or "", {})
    api = sum(line["usd_api"] for line in stages)
    gpu = 0.0 if not on_gpu else on_gpu * card["usd_per_hour"] if "usd_per_hour" in card else None
    return {
        "hours": sum(line["seconds"] for line in stages) / 3600,
        "gpu_hours": on_gpu,
        "gpu": name.upper() if card else name,
        "watts": card.get("watts"),
        "price": card.get("usd_per_hour"),
        "price_date": gpus["price_date"],
        "api": api,
        "gpu_usd": gpu,
        "usd": None if gpu is None else api + gpu,
        "paper": PAPER_USD,
    }


def _carbon(run: Run) -> dict[str, Any] | None:
    """Sums of what codecarbon has written; None where it has not run. A tracker may write again and again: its last row counts."""
    rows = {}
    for path in sorted(run.path.rglob("emissions.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows |= {(path, row["run_id"]): row for row in csv.DictReader(file)}
    if not rows:
        return None
    grams, kwh = (sum(float(row[name]) for row in rows.values()) for name in ("emissions", "energy_consumed"))
    return {"grams": 1000 * grams, "kwh": kwh, "country": list(rows.values())[-1].get("country_name", "")}


def _gguf(path: Path) -> dict[str, Any]:
    quant, read_back = path.stem.rsplit("-", 1)[-1].upper(), _json(path.with_suffix(".json"))
    return {"file": path.name, "quant": quant, "megabytes": path.stat().st_size / 1e6, "read_back": read_back}


def judged(run: Run) -> tuple[str, str]:
    """What the gate found of the adapter that this run's release is made of (pass, fail or undecided), or `none` and why."""
    gate, merged = _json(run.file("evaluation", "gate.json")), _json(run.file("release", "merged", "merge.json"))
    weights = run.file("finetune", "adapter", "adapter_model.safetensors")
    if gate is None:
        return "none", "no gate has judged this run; `alif evaluate` does"
    if not gate["tuned"].endswith(TUNED):
        other = Path(gate["tuned"]).name
        return "none", f"the gate judged {other}, not this run's {TUNED}; run `alif evaluate` without --model"
    if merged and weights.is_file() and merged["adapter_sha256"] != merge.digest(weights):
        return "none", f"release/merged was made of another adapter than the {TUNED} that was judged; run `alif merge` again"
    return gate["verdict"], ""


def gate_causes(run: Run) -> list[str]:
    """Why these weights have not passed the gate, a sentence each, failures first; empty when they have."""
    if why := judged(run)[1]:
        return [why]
    findings = _json(run.file("evaluation", "gate.json"))["findings"]
    return [f["sentence"] for kind in ("fail", "undecided") for f in findings if f["verdict"] == kind]
