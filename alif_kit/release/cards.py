"""release: the model card, written from the run's own files and nothing else.

In: what facts.py gathered. Out: Markdown with the front matter that the Hub reads, checked with huggingface_hub's own classes. What
a run has not done is said in a sentence. Foreign text (sample rows, names, reasons) is escaped, paths of this machine are cut.
"""

from __future__ import annotations

import html
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from alif_kit.core import Run, UserError
from alif_kit.core.errors import first_line
from alif_kit.core.records import write_atomic

SUFFIXES = {"merged": "", "adapter": "-LoRA", "gguf": "-GGUF"}
LIBRARIES = {"merged": "transformers", "adapter": "peft", "gguf": "gguf"}


def repositories(to: str) -> dict[str, str]:
    """One repository per kind, as the Hub expects: `me/x` → merged me/x, adapter me/x-LoRA, gguf me/x-GGUF."""
    bare = next((to[: -len(s)] for s in SUFFIXES.values() if s and to.lower().endswith(s.lower())), to)
    return {kind: bare + suffix for kind, suffix in SUFFIXES.items()}


def metadata(facts: dict[str, Any], kind: str, repository: str, published: dict[str, str]) -> Any:
    """The front matter of a kind's repository. A GGUF derives from the merged model where that is published beside it."""
    from huggingface_hub import ModelCardData

    base, relation = facts["base_id"] or None, {"merged": "finetune", "adapter": "adapter", "gguf": "finetune"}[kind]
    if kind == "gguf" and "merged" in published:
        base, relation = published["merged"], "quantized"
    own, config = facts["terms"][0], facts["config"]
    return ModelCardData(
        model_name=repository.split("/")[-1],
        language=list(dict.fromkeys([config.language, "en"])),
        license=own.id,
        license_name=None if own.url else "unknown-look-it-up",
        license_link=f"https://huggingface.co/{facts['base_id']}" if facts["base_id"] and not own.url else None,
        library_name=LIBRARIES[kind],
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation=relation if base else None,
        datasets=facts["datasets"] or None,
        tags=[*(["urdu"] if config.language == "ur" else []), "alif-kit", "unsloth", "lora", *(["toy"] if facts["toy"] else [])],
        eval_results=_eval_results(facts) or None,
        co2_eq_emissions=_emissions(facts["carbon"]),
    )


def _emissions(carbon: dict[str, Any] | None) -> dict[str, Any] | None:
    if carbon is None:
        return None
    place = {"geographical_location": carbon["country"]} if carbon["country"] else {}
    return {"emissions": round(carbon["grams"], 3), "source": "codecarbon", "training_type": "fine-tuning", **place}


def _eval_results(facts: dict[str, Any]) -> list[Any]:
    """The tuned model's figures that rest on a number of examples, each with that number, its interval and the base's figure."""
    from huggingface_hub import EvalResult

    results = facts["results"]
    if not results:
        return []
    suite, tuned, found = results["suite"], results["subjects"][-1]["name"], []
    data = {"dataset_type": f"alif-kit-{suite}", "dataset_name": f"alif_kit, suite {suite}"}
    for measure, row in zip(results["measures"], facts["comparison"], strict=True):
        value = measure["values"].get(tuned)
        if value and value["n"] and measure["key"] != "always_a":
            interval = f", 95 % {row['intervals'][-1]}" if row["intervals"][-1] else ""
            name = f"{measure['label']} (n {value['n']:,}{interval}; base {row['values'][0]})"
            metric = {"metric_type": measure["key"], "metric_value": round(value["value"], 4), "metric_name": name}
            found.append(EvalResult(task_type="text-generation", **data, **metric))
    return found


def render(facts: dict[str, Any], kind: str, names: dict[str, str], published: dict[str, str], ungated: bool = False) -> str:
    """The card of one kind's repository, checked. `names`: every kind's repository; `published`: those that are sent together."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "block": block, "hours": hours, "quoted": partial(json.dumps, ensure_ascii=False)}
    front = metadata(facts, kind, names[kind], published).to_yaml()
    page = environment.get_template("model_card.md.j2").render(
        **facts, front=front, kind=kind, names=names, published=published, ungated=ungated
    )
    return check(re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n")


def check(page: str) -> str:
    """The page itself, if huggingface_hub reads its front matter and what the Hub asks for is in it. Raises UserError otherwise."""
    from huggingface_hub import ModelCard

    try:
        card = ModelCard(page)
    except ValueError as error:
        raise UserError(f"the model card is not what the Hub reads: {first_line(error)}") from None
    lacking = [name for name in ("language", "license", "library_name", "pipeline_tag") if not card.data.get(name)]
    if lacking:
        raise UserError(f"the model card's front matter lacks {lacking[0]}; expected language, licence, library and task")
    return page


def write(run: Run, facts: dict[str, Any], to: str) -> Path:
    """release/README.md: the card of the run, as its merged model's repository would show it, with all that has been made."""
    names, path = repositories(to), run.file("release", "README.md")
    made = {kind: names[kind] for kind in facts["kinds"]}
    write_atomic(path, render(facts, "merged", names, made, ungated=bool(facts["causes"])))
    return path


def cell(text: Any) -> str:
    """Foreign text inside a line or a table of Markdown, a path of this machine as its last part: `"a|b /x/y"` → `"a\\|b y"`."""
    line = re.sub(r"(?<![\w.:/])/(?:[^\s/]+/)+", "", " ".join(str(text).split()))
    return re.sub(r"([|`*_\[\]\\])", r"\\\1", html.escape(line, quote=False))


def block(text: str) -> str:
    """Foreign text inside an HTML block on one line, where Markdown does not reach."""
    return "<br>".join(html.escape(line) for line in str(text).splitlines())


def hours(value: float) -> str:
    """`0.02` → `"1.2 minutes"`, `3.25` → `"3.2 hours"`."""
    return f"{60 * value:.1f} minutes" if value < 1 else f"{value:.1f} hours"
