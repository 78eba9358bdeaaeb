"""Every stage of the kit in small on the card that is here, by the paths of a T4: `python bench/gpu_t4.py --smoke`.

    for from in "" "--no-index --find-links=.whl"; do
      python3 -m pip install -q $from -r requirements.txt 'torchao>=0.16.0' 'lm-eval==0.4.13' &&
      python3 -m pip install -q $from --no-deps unsloth==2026.10.9 unsloth_zoo==2026.10.9 && break
    done; PYTHONPATH=. python3 bench/gpu_t4.py --smoke --out "${OUT:-.}/smoke.json"

That runs it in a copy of the repository, with pip where it has an index and else from wheels that lie in `.whl`. It needs a CUDA
build of torch with triton, requirements.txt, Unsloth's two packages, torchao (peft asks for it beside a CUDA torch), pillow for the
image processor, and lm-eval for the row `evaluate`, which is left out without it. No torchvision, no network, no model hub.

The base is a random Gemma3ForConditionalGeneration with a real Gemma3Processor beside it, as gemma-3-4b-it has: on a card Unsloth
then hands out the processor and not the tokenizer (unsloth#2213), runs in float32 for want of bfloat16, and names the layers under
`language_model`. The tokenizer is a small BPE of the pack's texts with Gemma's special tokens and turns.

A row per stage: ok or failed with the first line of its error, seconds, what was found. Stages share a process, as they do in a
notebook; one that fails ends it, and those that do not need it run on in a new one. Without CUDA all runs on the CPU, which proves
the bench and nothing else. The last row is the true shape: three steps of gemma-3-4b as `--case` measures it, planned and measured.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gpu_t4
from rich.console import Console
from rich.table import Table

from alif_kit.core import config as configuration
from alif_kit.core.config import Config
from alif_kit.core.errors import StoppedError, first_line
from alif_kit.core.records import Example, read_jsonl, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.platforms import machine

Facts = dict[str, Any]
STEPS, SAVED, SYSTEM = 6, 2, "مختصر جواب دیں۔"
HOLDS = 10.0
"""GiB of a card that takes the true shape with room for what the plan does not know."""
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
IMAGE = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
TEXT = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
TEXT |= {"head_dim": 32, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
TEXT |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "max_position_embeddings": 2048}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
TOWER |= {"image_size": 28, "patch_size": 7}


class LeftOut(Exception):
    """A stage that cannot run here for want of a package, which is no failure."""


def need(holds: bool, said: str) -> None:
    if not holds:
        raise RuntimeError(said)


def tokenizer() -> Any:
    """A Gemma tokenizer of 1,024 pieces; turns, image tokens and the soft token come after them."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import GemmaTokenizer

    from alif_kit.model import gemma

    pieces = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    pieces.normalizer = normalizers.Replace(" ", "▁")
    pieces.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    fixed = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [d.text for of in ("ur", "en") for d in pack.corpus("ur", of, "train")]
    pieces.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1024, special_tokens=fixed, show_progress=False))
    learnt = json.loads(pieces.to_str())["model"]
    made = GemmaTokenizer(learnt["vocab"], [tuple(m) for m in learnt["merges"]], add_bos_token=True, extra_special_tokens=IMAGE)
    made.add_tokens([AddedToken(text, special=True) for text in TURNS])
    made.chat_template, made.model_max_length = gemma.CHAT_TEMPLATE, 2048
    return made


def write_base(folder: Path) -> None:
    """A random Gemma-3 that sees, in bfloat16 as Google's own, with its processor and tokenizer."""
    import torch
    import transformers

    words = tokenizer()
    rows = -(-len(words) // 64) * 64
    text = transformers.Gemma3TextConfig(**TEXT, vocab_size=rows)
    image = words.convert_tokens_to_ids(IMAGE["image_token"])
    both = {"text_config": text, "vision_config": transformers.SiglipVisionConfig(**TOWER), "mm_tokens_per_image": 4}
    torch.manual_seed(0)
    kind = transformers.Gemma3Config(**both, image_token_id=image, tie_word_embeddings=True)
    model = transformers.Gemma3ForConditionalGeneration(kind).to(torch.bfloat16)
    model.generation_config.update(pad_token_id=0, eos_token_id=[1, words.convert_tokens_to_ids("<end_of_turn>")], bos_token_id=2)
    model.save_pretrained(folder)
    pictures = transformers.Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    transformers.Gemma3Processor(pictures, words, words.chat_template, image_seq_length=4).save_pretrained(folder)
    words.save_pretrained(folder)


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
    write_base(scratch / "base")
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
    from alif_kit.release import weights

    adapter = run.file(stage, "adapter")
    names = sorted(weights.shapes(adapter / "adapter_model.safetensors"))
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


def work(names: list[str], scratch: Path) -> None:
    """The stages by name, a row of JSON each; the first that fails ends this process, as a card may not be fit for use after it."""
    import torch

    if torch.cuda.is_available():
        gpu_t4.pretend_t4(torch)
    for name in names:
        row = row_of(name, lambda name=name: STAGES[name][0](scratch))
        print("\n" + json.dumps(row, ensure_ascii=False, default=str), flush=True)  # a line of its own, whatever libraries wrote
        if "failed" in row:
            sys.exit(1)


def row_of(name: str, stage: Callable[[], Facts]) -> Facts:
    """`{"stage": name, "found": …, "seconds": 1.5}`, or `failed` with the first line of the error, or `left out`."""
    began, row = time.monotonic(), {"stage": name}
    try:
        row |= {"found": stage()}
    except LeftOut as why:
        row |= {"left out": str(why)}
    except Exception as error:  # whatever a library raises on a card that nobody has tried
        row |= {"failed": f"{type(error).__name__}: {first_line(error)}"[:300]}
    return row | {"seconds": round(time.monotonic() - began, 1)}


def run_all(scratch: Path) -> Iterator[Facts]:
    """A row per stage; one that takes up the work of another that failed has failed too."""
    waiting, lost = list(STAGES), set()
    while waiting:
        for name in list(waiting):
            if missing := [other for other in STAGES[name][1] if other in lost]:
                waiting.remove(name)
                lost.add(name)
                yield {"stage": name, "failed": f"not run: it takes up the work of {missing[0]}", "seconds": 0.0}
        for row in in_a_process(list(waiting), scratch) if waiting else ():
            waiting.remove(row["stage"])
            lost |= {row["stage"]} if "failed" in row else set()
            yield row


def in_a_process(names: list[str], scratch: Path) -> Iterator[Facts]:
    """The rows of a process as they come, and one for the stage that it died in."""
    command = [sys.executable, gpu_t4.__file__, "--smoke", "--case", ",".join(names), "--scratch", str(scratch)]
    rows, log = [], scratch / "errors.txt"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        for line in child.stdout:
            if line.startswith('{"stage"'):
                rows.append(json.loads(line))
                yield rows[-1]
    if len(rows) < len(names) and not any("failed" in row for row in rows):
        last = (log.read_text("utf-8").strip().splitlines() or [""])[-1]
        yield {"stage": names[len(rows)], "failed": f"the process ended with {child.returncode}: {last}"[:300], "seconds": 0.0}


def true_shape(scratch: Path) -> Facts:
    """Three steps of gemma-3-4b in a process of their own, where the card can hold it; a toy without one."""
    gpu = machine.detect().gpu
    if gpu and gpu.vram_gib < HOLDS:
        raise LeftOut(f"{gpu.name} has {gpu.vram_gib:.1f} GiB; expected {HOLDS:g}")
    folder = scratch / "shape"
    folder.mkdir()
    result = gpu_t4.in_a_process("unsloth/gemma-3-4b-it" if gpu else gpu_t4.TOY.name, "none", 3, str(folder))
    need("failed" not in result, str(result.get("failed")))
    return result


def table(rows: list[Facts]) -> Table:
    grid = Table("stage", "", "seconds", "found")
    for row in rows:
        verdict = "failed" if "failed" in row else "left out" if "left out" in row else "ok"
        found = row.get("failed") or row.get("left out") or ", ".join(f"{name} {value}" for name, value in row["found"].items())
        grid.add_row(row["stage"], verdict, f"{row['seconds']:.0f}", found)
    return grid


def main(scratch: Path, out: Path | None) -> list[Facts]:
    """All rows, printed and written as they come, and as a table."""
    import torch

    cuda, rows = torch.cuda.is_available(), []
    device = torch.cuda.get_device_name(0) if cuda else "CPU"
    for row in itertools.chain(run_all(scratch), [None]):
        rows.append(row or row_of("true shape", lambda: true_shape(scratch)))
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        if out:
            write_json(out, {"gpu": cuda, "device": device, "torch": torch.__version__, "rows": rows})
    Console(width=150).print(table(rows), markup=False)
    failed = sum("failed" in row for row in rows)
    print(f"{device} by the paths of a T4: {failed} of {len(rows)} rows failed" if cuda else gpu_t4.NOT_RUN)
    return rows
