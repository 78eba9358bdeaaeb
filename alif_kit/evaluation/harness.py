"""evaluation: lm-evaluation-harness, the engine of every log-likelihood suite, with our model class, frames and rows.

In: a loaded model and names of tasks: lm-eval's own, or those under tasks/. Out: rows by task, for the paired statistics.
"""

from __future__ import annotations

import contextlib
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alif_kit.core.errors import UserError, first_line
from alif_kit.core.records import write_atomic
from alif_kit.evaluation import metrics
from alif_kit.evaluation.shared_prefix import language_model
from alif_kit.model.unsloth import Loaded
from alif_kit.platforms import machine

TASKS = Path(__file__).parent / "tasks"


@lru_cache
def task_list(name: str) -> dict[str, dict[str, Any]]:
    """`urdu` or `retention`: lm-eval's tasks with the metric that counts and the examples shown, from task_lists.toml."""
    return tomllib.loads(Path(__file__).with_name("task_lists.toml").read_text("utf-8"))[name]


def shots(task: str) -> int | None:
    """Worked examples that a listed task is shown; None leaves it to the task."""
    return (task_list("urdu") | task_list("retention")).get(task, {}).get("shots")


def local_task(task: str, data: Path) -> str:
    """One of our tasks on a local JSON file: a YAML file beside it, which `lm_eval --tasks FILE` runs too. Returns its path."""
    path = data.with_name(f"{task}.yaml")
    source = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
    write_atomic(path, f"include: {TASKS / task}.yaml\ntask: {task}\n{source}")
    return str(path)


def run_tasks(
    loaded: Loaded,
    tasks: list[str],
    *,
    chat_format: str,
    system: str = "",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 8,
    max_length: int = 2048,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of each task, and of each part of a group, by name; a task is a name or a YAML file, `limit` examples of each at most.

    Raises UserError without lm-eval, for an unknown task, and for data that cannot be had.
    """
    lm_eval = _lm_eval()
    with metrics.quiet():
        model = language_model(loaded, chat_format, system, batch_size, max_length)
    seeds = {f"{kind}_seed": seed for kind in ("random", "numpy_random", "torch_random", "fewshot_random")}
    found: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        name = Path(task).stem
        with _named(name), metrics.quiet(), _patience(task):
            answer = lm_eval.simple_evaluate(
                model,
                tasks=[task],
                num_fewshot=shots(name),
                limit=limit,
                task_manager=_manager(),
                apply_chat_template=True,
                log_samples=True,
                bootstrap_iters=0,
                **seeds,
            )
        for part, samples in answer["samples"].items():
            found[part] = [_row(part, sample) for sample in samples]
    return found


def _lm_eval() -> Any:
    try:
        with metrics.quiet():
            import lm_eval.evaluator
    except ImportError:
        raise UserError("the log-likelihood suites need lm-evaluation-harness; run: pip install 'alif-kit[eval]'") from None
    # It asks git about the working folder, which complains where there is no repository.
    lm_eval.evaluator.get_git_commit_hash = str
    return lm_eval


@contextlib.contextmanager
def _patience(task: str) -> Any:
    """Where the Hub does not answer, its libraries would ask five times for each set.

    Told that they are offline, for as long as this task runs, they look into their cache and answer at once.
    """
    import datasets
    from huggingface_hub import constants

    places = (constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    absent = not task.endswith(".yaml") and not machine.has_internet(urlsplit(constants.ENDPOINT).hostname or "huggingface.co")
    try:
        for place in places:
            place.HF_HUB_OFFLINE = place.HF_HUB_OFFLINE or absent
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


@lru_cache
def _manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS))


@contextlib.contextmanager
def _named(task: str) -> Any:
    """What goes wrong while a task loads its data, as one sentence that names the task."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, ValueError, OSError, RuntimeError) as error:
        said = first_line(error)[:160]
        raise UserError(
            f"lm-eval cannot run {task} ({said}); its data comes from the Hub: check network, HF_TOKEN and name"
        ) from error


def _row(task: str, sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of lm-eval as a row: every number that it was scored with is a score; the answer is the likeliest option."""
    doc, asked = sample["doc"], sample["arguments"]
    likelihoods = [response[0] for response in sample["filtered_resps"] if isinstance(response, list | tuple)]
    best = asked[likelihoods.index(max(likelihoods))][1] if len(likelihoods) > 1 else ""
    scores = {name: float(sample[name]) for name in sample["metrics"] if isinstance(sample.get(name), bool | int | float)}
    if "bits_per_byte" in sample["metrics"]:
        nats, size = sample["bits_per_byte"]
        scores["bits_per_byte"] = metrics.bits_per_byte(-nats, size)
    return {
        "id": str(doc.get("id") or sample["doc_id"]),
        "set": task,
        "group": str(doc.get("domain") or doc.get("subject") or ""),
        "prompt": asked[0][0],
        "expected": str(sample["target"]),
        "answer": best,
        "parsed": None,
        "scores": dict(sorted(scores.items())),
    }
