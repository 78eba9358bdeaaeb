"""The stages that gpu_smoke.py runs: each takes up what earlier ones left in a scratch folder and says what it found."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gpu_t4
import tiny_gemma

from alif_kit.core import config as configuration
from alif_kit.core.config import Config
from alif_kit.core.errors import StoppedError, first_line
from alif_kit.core.records import Example, read_jsonl, write_jsonl
from alif_kit.core.run import Run
from alif_kit.languages import pack

Facts = dict[str, Any]
STEPS, SAVED, SYSTEM = 6, 2, "مختصر جواب دیں۔"


class LeftOut(Exception):
    """A stage that cannot run here for want of a package, which is no failure."""


def need(holds: bool, said: str) -> None:
    if not holds:
        raise RuntimeError(said)


def settings(scratch: Path, cuda: bool) -> Config:
    """The t4 preset with a few short steps; finetuning reads the run's own tasks and conversations of two turns."""
    stage = {"max_steps": STEPS, "save_steps": SAVED, "eval_steps": 3, "warmup_steps": 1, "batch_size": 2}
    stage |= {"gradient_accumulation": 1}
    stage |= {} if cuda else {"optimiser": "adamw_torch"}
    changes = {f"{name}.{field}": value for name in ("pretrain", "finetune") for field, value in stage.items()}
    changes |= {"base.model": str(scratch / "base"), "base.max_seq_length": 256, "lora.rank": 8, "lora.alpha": 8}
    changes |= {"mixture.system": SYSTEM, "mixture.sources": {"own": 0, str(scratch / "talks.jsonl"): 0}}
    changes |= {"evaluation.max_new_tokens": 8, "evaluation.max_examples": 2, "evaluation.batch_size": 2}
    return configuration.load("t4", changes)


def write_data(run: Run, talks: Path) -> None:
    """The seeds of the pack as the run's tasks, the first of each category held out; every two of the others as one talk."""
    seeds = list(pack.seeds("ur").values())
    held_out, tasks = [t[0] for t in seeds], [task for t in seeds for task in t[1:]]
    for name, chosen in (("eval", held_out), ("train", tasks)):
        rows = [Example(t.category, t.instruction, t.output, t.input, t.labels, t.meta) for t in chosen]
        write_jsonl(run.file("data", f"{name}.jsonl"), rows)
    ask = ("پہلا سوال: ایک رنگ کا نام بتائیں۔", "اور ایک پھل کا؟")
    answers = [("سبز", "آم"), ("نیلا", "سیب"), ("سرخ", "انار")]
    talk = [[(ask[0], a), (ask[1], b)] for a, b in answers]
    rows = [{"messages": [m for q, a in turns for m in (said("user", q), said("assistant", a))]} for turns in talk]
    write_jsonl(talks, rows)


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def base(scratch: Path) -> Facts:
    """The checkpoint, what Unsloth hands out for it, and what the kit makes of that."""
    import torch

    from alif_kit.model import unsloth as seam

    unsloth = seam.prepare()
    cuda = torch.cuda.is_available()
    tiny_gemma.write_base(scratch / "base")
    config = settings(scratch, cuda)
    write_data(Run.open(scratch / "run", config), scratch / "talks.jsonl")
    options = {"max_seq_length": 256, "load_in_4bit": True, "dtype": None if cuda else torch.float32}
    model, handed = unsloth.FastLanguageModel.from_pretrained(config.base.model, **options)
    found = {"model": type(model).__name__, "handed out": type(handed).__name__, "dtype": str(model.dtype)}
    found |= {"forced float32": bool(getattr(model, "_unsloth_forced_float32", False))}
    if cuda:
        found |= {"capability": torch.cuda.get_device_capability(), "bf16": torch.cuda.is_bf16_supported()}
    loaded = seam.load(config.base, config.base.model)
    plain = loaded.tokenizer.chat_template is not None and not hasattr(loaded.tokenizer, "image_processor")
    need(plain, "the kit holds a processor where it needs its tokenizer")
    return found | {"tokenizer": type(loaded.tokenizer).__name__}


def pretrain(scratch: Path) -> Facts:
    """Continued pretraining, and the names of the adapter's tensors."""
    from alif_kit.training import trainer

    run = Run.resume(scratch / "run")
    summary = trainer.pretrain(run)
    return trained(run, "pretrain", summary)


def trained(run: Run, stage: str, summary: Facts) -> Facts:
    """What a stage left: its steps and loss, and where its adapter sits in the model."""
    from alif_kit.model import checkpoint

    adapter = run.file(stage, "adapter")
    names = sorted(checkpoint.header(adapter / "adapter_model.safetensors"))
    need(summary["steps"] == STEPS, f"{summary['steps']} steps instead of {STEPS}")
    need(not any("vision" in name for name in names), f"the image tower is trained: {names[0]}")
    moved, matrices = gpu_t4.moved_adapters(adapter)
    need(moved == matrices > 0, f"{matrices - moved} of {matrices} LoRA B matrices are zero or not finite")
    prefix = names[0].split(".layers.")[0]
    need(all(name.startswith(prefix) for name in names), f"not every tensor begins with {prefix}")
    return {"steps": summary["steps"], "loss": summary["final_loss"], "tensors": len(names), "prefix": prefix, "first": names[0]}


def finetune(scratch: Path) -> Facts:
    """Fine-tuning on tasks and talks of two turns, each after a system line."""
    from alif_kit.training import trainer

    run = Run.resume(scratch / "run")
    summary = trainer.finetune(run)
    mixture = json.loads(run.file("finetune", "mixture.json").read_text("utf-8"))
    talks = mixture["sources"][str(scratch / "talks.jsonl")]["rows_used"]
    need(talks == 3, f"{talks} talks of two turns were used, not 3")
    return trained(run, "finetune", summary) | {"rows": mixture["rows"], "loss share": summary["loss_share"]}


def resume(scratch: Path) -> Facts:
    """Pretraining that SIGTERM stops at step 3 and a second call finishes; how far it ends from the run that was left alone."""
    from safetensors.torch import load_file

    from alif_kit.training import trainer

    run = Run.open(scratch / "resumed", Run.resume(scratch / "run").config)
    write_data(run, scratch / "talks.jsonl")
    with stopped_after(3), contextlib.suppress(StoppedError):
        trainer.pretrain(run)
    saved = trainer.last_checkpoint(run.file("pretrain"))
    need(saved is not None, "stopping left no whole checkpoint")
    summary = trainer.pretrain(run)
    found = trained(run, "pretrain", summary) | {"from": saved.name}
    whole, again = (scratch / name / "pretrain" / "adapter" / "adapter_model.safetensors" for name in ("run", "resumed"))
    if whole.is_file():
        first, second = load_file(str(whole)), load_file(str(again))
        found["largest difference"] = max(float((first[name] - second[name]).abs().max()) for name in first)
    return {name: found[name] for name in ("from", "steps", "loss", "largest difference") if name in found}


@contextlib.contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """SIGTERM reaches the trainer in this step of its session."""
    import signal

    from alif_kit.training.callback import Watch

    done = Watch.step_done

    def step_done(watch: Watch) -> None:
        done(watch)
        if len(watch.steps) == steps:
            signal.raise_signal(signal.SIGTERM)

    with mock.patch.object(Watch, "step_done", step_done):
        yield


def newest(scratch: Path) -> Path | None:
    """The adapter of the latest stage that has one."""
    adapters = (scratch / "run" / stage / "adapter" for stage in ("finetune", "pretrain"))
    return next((path for path in adapters if path.is_dir()), None)


def likelihood(scratch: Path) -> Facts:
    """Nats a token of the held-out documents, as the kit reads them, in a plain forward, and cast to float16."""
    import torch

    from alif_kit.evaluation import generate
    from alif_kit.languages.held_out import held_out
    from alif_kit.model import unsloth as seam

    run = Run.resume(scratch / "run")
    loaded = seam.load(run.config.base, run.config.base.model, newest(scratch))
    texts = [d.text for d in held_out(run, "ur")[:4]]
    tokens = sum(len(generate.text_ids(loaded.tokenizer, text)) - 1 for text in texts)

    def nats(cast: Any = None) -> float | str:
        """What the kit gives, or under a cast of our own; an error's first line where a forward does not go through."""
        ours = mock.patch.object(seam, "autocast", lambda model: contextlib.nullcontext()) if cast else contextlib.nullcontext()
        try:
            with ours, cast or contextlib.nullcontext():
                total = sum(generate.text_nll(loaded, text, run.config.base.max_seq_length) for text in texts)
        except RuntimeError as error:
            return f"{type(error).__name__}: {first_line(error)}"[:120]
        return round(total / tokens, 6)

    half = torch.autocast(loaded.model.device.type, dtype=torch.float16)
    found = {"kit": nats(), "plain": nats(contextlib.nullcontext()), "float16": nats(half)}
    need(isinstance(found["kit"], float) and 0 < found["kit"] < 100, f"the kit reads {found['kit']} nats a token")
    if getattr(loaded.model, "_unsloth_forced_float32", False) and loaded.device.startswith("cuda"):
        need(
            found["kit"] == found["float16"],
            "the kit does not read a model that Unsloth keeps in float32 as it answers, in float16",
        )
    numbers = [value for value in (found["float16"], found["plain"]) if isinstance(value, float)]
    apart = {"float16 less plain": round(numbers[0] - numbers[1], 6)} if len(numbers) == 2 else {}
    return {"tokens": tokens, **found, **apart}


def answers(scratch: Path) -> Facts:
    """Greedy answers in a padded batch, and the same prompts one at a time."""
    from alif_kit.evaluation.generate import answer_all
    from alif_kit.model import unsloth as seam
    from alif_kit.model.chat_format import answer_ends, prompt_text

    config = Run.resume(scratch / "run").config
    loaded = seam.load(config.base, config.base.model, newest(scratch))
    tasks = read_jsonl(scratch / "run" / "data" / "eval.jsonl", Example)
    prompts = [prompt_text(task, loaded.tokenizer, "native", SYSTEM) for task in tasks]
    ends = answer_ends(loaded.tokenizer, "native")
    together, alone = (answer_all(loaded, prompts, 8, size, ends=ends) for size in (4, 1))
    same = sum(a.text == b.text for a, b in zip(together, alone, strict=True))
    need(all(answer.tokens <= 8 for answer in together), "an answer is longer than its budget")
    return {"answers": len(together), "the same one at a time": same, "stopped": sum(a.stopped for a in together)}


def evaluate(scratch: Path) -> Facts:
    """The whole evaluation: documents, tasks, lm-eval's likelihoods, base against both stages."""
    from alif_kit import pipeline

    if importlib.util.find_spec("lm_eval") is None:
        raise LeftOut("lm-eval is not installed")
    results = pipeline.evaluate(Run.resume(scratch / "run"))
    need(not results["missing"], f"{len(results['missing'])} measures are missing")
    return {"subjects": len(results["subjects"]), "measures": len(results["measures"]), "missing": len(results["missing"])}


def merge(scratch: Path) -> Facts:
    """The adapter merged into the base, by the process that the kit starts for it, which sees the card as it is."""
    from alif_kit import pipeline

    found = pipeline.merge(Run.resume(scratch / "run"))
    return {name: value for name, value in found.items() if name not in ("base", "adapter_sha256")}


def merged(scratch: Path) -> Facts:
    """The merged folder as any user reads it: by the kit with answers, and by transformers alone."""
    from alif_kit.core.config import Base
    from alif_kit.evaluation.generate import answer_all
    from alif_kit.model import unsloth as seam

    folder = scratch / "run" / "release" / "merged"
    loaded = seam.load(Base(str(folder), max_seq_length=256, load_in_4bit=False), folder)
    need(loaded.tokenizer.chat_template is not None, "the merged folder has no chat template")
    (answer,) = answer_all(loaded, ["<bos><start_of_turn>user\nسلام<end_of_turn>\n<start_of_turn>model\n"], 8, 1)
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind = AutoConfig.from_pretrained(folder)
    plain, told = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    absent = sorted(told["missing_keys"]) + sorted(told["unexpected_keys"])
    need(not absent, f"transformers misses or does not know {absent[:1]}")
    files = sorted(p.name for p in folder.iterdir() if "processor" in p.name)
    return {"model_type": kind.model_type, "dtype": str(plain.dtype), "answer tokens": answer.tokens, "processor files": files}


STAGES: dict[str, tuple[Callable[[Path], Facts], tuple[str, ...]]] = {
    "base": (base, ()),
    "pretrain": (pretrain, ("base",)),
    "finetune": (finetune, ("pretrain",)),
    "resume": (resume, ("base",)),
    "likelihood": (likelihood, ("base",)),
    "answers": (answers, ("base",)),
    "evaluate": (evaluate, ("finetune",)),
    "merge": (merge, ("finetune",)),
    "merged": (merged, ("merge",)),
}
"""What is run in this order, and the stages whose work it takes up."""
