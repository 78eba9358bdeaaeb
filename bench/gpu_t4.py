"""What each base takes on a card of a T4's memory, planned against measured, through the same code as `alif pretrain`.

    python bench/gpu_t4.py [--bases ID,ID] [--vocab none,rows] [--steps 20] [--scratch FOLDER] [--out FILE.json]
    python bench/gpu_t4.py --smoke [--scratch FOLDER] [--out FILE.json]     every stage in small, see gpu_smoke.py

On any CUDA card: torch may take 14.563 GiB less the CUDA context, as on a T4, and the card is made to look like one of compute
capability 7.5, so Unsloth takes its fp16 path, without bfloat16 and without FlashAttention-2. What it shows is memory and the
numerics of fp16 on the card at hand; tokens per second are that card's, not a T4's, whose kernels may also take other memory.
Checkpoints have the true shapes of bases.toml and random weights, written here a shard at a time (8B: 16 GB of disk at a time);
nothing is downloaded. The tokenizer is the tiny base's, so its ids use the first 3,072 rows of the vocabulary. Image towers are
left out, here and in the plan. Per case: 20 steps in a process of its own; the planner's reserved memory and torch's, the
difference, the trainer's tokens per second over ten steps, and how many LoRA B matrices (zero at the start) have moved. `rows`
trains what the pack's text uses of the small tokenizer, 3,072 rows at most, where the plan counts the base's Urdu entries.

Without CUDA it runs three steps of a toy shape on the CPU, which proves that the bench runs and nothing else; the output says so.
The exit code is 1 where a case or a stage failed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alif_kit.core import config as configuration
from alif_kit.core.config import Config
from alif_kit.core.records import write_json
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.model import tiny_base
from alif_kit.planner import budget, cards, memory
from alif_kit.planner.bases import Shape, known_bases

VISIBLE = 14.563
FAMILIES = {
    "gemma-3": "gemma3_text",
    "gemma-270m": "gemma3_text",
    "gemma-2": "gemma2",
    "Qwen3": "qwen3",
    "Qwen2": "qwen2",
    "lama": "llama",
    "mistral": "mistral",
}
TOY = Shape("toy-llama", 64, 2, 4, 2, 16, 128, 4096, True)
SHARD = 2**31
INDEX = "model.safetensors.index.json"
NOT_RUN = "NOT RUN ON A GPU: no CUDA here; a toy shape on the CPU shows only that this bench runs"


def pretend_t4(torch: Any) -> None:
    """Cap the memory and report compute capability 7.5; must come before Unsloth is imported.

    Only the choice of a path is to see a T4: kernels are still compiled for the card that runs them, so triton and inductor
    keep the true capability.
    """
    import triton
    from torch._dynamo.device_interface import CudaInterface

    whole = torch.cuda.get_device_properties(0).total_memory / memory.GIB
    torch.cuda.set_per_process_memory_fraction(min(1.0, (VISIBLE - memory.CONTEXT) / whole))
    triton.runtime.driver.active.get_current_target()  # its driver keeps the function that it finds at this moment
    major, minor = torch.cuda.get_device_capability()
    CudaInterface.get_compute_capability = staticmethod(lambda device=None: 10 * major + minor)
    torch.cuda.get_device_capability = lambda *_, **__: (7, 5)
    torch.cuda.is_bf16_supported = lambda *_, **__: False


def model_config(shape: Shape) -> Any:
    """The transformers configuration of a shape."""
    from transformers import AutoConfig

    kind = next(kind for mark, kind in FAMILIES.items() if mark in shape.name)
    values = {"hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    values |= {"num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "intermediate_size": shape.intermediate}
    values |= {"vocab_size": shape.vocabulary, "tie_word_embeddings": shape.tied, "max_position_embeddings": 8192}
    return AutoConfig.for_model(kind, **values, dtype="float16", pad_token_id=0, bos_token_id=1, eos_token_id=2)


def tensors(config: Any) -> Iterator[tuple[str, Any]]:
    """Random weights by name, one at a time: norms as they start, the rest normal with standard deviation 0.02."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shift = 0.0 if config.model_type.startswith("gemma") else 1.0  # Gemma's norms multiply by 1 + weight
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        on = "cuda" if torch.cuda.is_available() else "cpu"
        drawn = torch.full(tensor.shape, shift) if "norm" in name else torch.empty(tensor.shape, device=on).normal_(std=0.02)
        yield name, drawn.to(torch.float16).cpu()


def write_checkpoint(shape: Shape, folder: Path, shard: int = SHARD) -> Path:
    """A loadable checkpoint of the shape; never more than one shard and one matrix are in memory."""
    from safetensors.torch import save_file

    config, held, index, total = model_config(shape), {}, {}, 0
    config.architectures = [architecture(config)]
    config.save_pretrained(folder)
    texts = [d.text for of in ("ur", "en") for d in pack.corpus("ur", of, "train")]
    tiny_base.train_tokenizer(texts).save_pretrained(folder)

    def flush() -> None:
        name = f"model-{len(set(index.values())):05d}.safetensors"
        save_file(held, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(held, name))
        held.clear()

    for name, tensor in tensors(config):
        held[name] = tensor
        total += tensor.nbytes
        if sum(t.nbytes for t in held.values()) >= shard:
            flush()
    if held:
        flush()
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": index})
    return folder


def architecture(config: Any) -> str:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__


def case_config(model: str, vocab: str, steps: int, cuda: bool) -> Config:
    """The t4 preset as it is offered; on the CPU with what has no 8-bit optimiser there, and short."""
    changes: dict[str, Any] = {"base.model": model, "lora.train_vocab": vocab, "pretrain.max_steps": steps, "pretrain.epochs": 4}
    changes |= {"pretrain.warmup_steps": min(5, steps - 1), "pretrain.save_steps": 100_000}
    if not known_bases().get(model, TOY).instruct:
        changes["base.chat_format"] = "alpaca"
    if not cuda:
        changes |= {"base.max_seq_length": 64, "pretrain.optimiser": "adamw_torch", "pretrain.gradient_accumulation": 1}
    return configuration.load("t4", changes)


def run_case(shape: Shape, vocab: str, steps: int, scratch: Path) -> dict[str, Any]:
    """Build the checkpoint unless an earlier case of the base has left it, pretrain, and compare with the plan."""
    import torch

    cuda = torch.cuda.is_available()
    if cuda:
        pretend_t4(torch)
    from alif_kit.training import trainer

    shape = replace(shape, vision=0, parameters=0, kept_16bit=0.0)  # no image tower, and quantised here
    base = scratch / "base"
    if not (base / INDEX).is_file():
        write_checkpoint(shape, base)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    config = case_config(str(base), vocab, steps, cuda)  # pretraining frames nothing, so a path says enough
    plan = budget.plan(config, cards.card("t4"), shape)
    folder = scratch / f"run-{vocab}"
    summary = trainer.pretrain(Run.open(folder, config))
    moved, matrices = moved_adapters(folder / "pretrain" / "adapter")
    paced = folder / "pretrain" / "plan.json"  # the trainer's own measure, after ten steps on a GPU
    pace = json.loads(paced.read_text("utf-8"))["measured"]["tokens_per_second"] if paced.is_file() else None
    return {
        "base": shape.name,
        "train_vocab": vocab,
        "device": torch.cuda.get_device_name(0) if cuda else "CPU, toy",
        "planned_reserved_gib": round(plan.reserved_gib, 3),
        "measured_reserved_gib": round(torch.cuda.max_memory_reserved() / memory.GIB, 3) if cuda else None,
        "tokens_per_second": pace,
        "steps": summary["steps"],
        "final_loss": summary["final_loss"],
        "lora_b_moved": moved,
        "lora_b": matrices,
    }


def moved_adapters(adapter: Path) -> tuple[int, int]:
    """LoRA B matrices that are finite and no longer zero, and how many there are."""
    from safetensors.torch import load_file

    state = load_file(str(adapter / "adapter_model.safetensors"))
    found = [value for name, value in state.items() if "lora_B" in name]
    return sum(bool(value.isfinite().all() and value.any()) for value in found), len(found)


def in_processes(cases: list[tuple[str, str]], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The cases one after another; those of one base share its checkpoint, which is deleted after them."""
    for base, of_base in itertools.groupby(cases, key=lambda case: case[0]):
        with tempfile.TemporaryDirectory(prefix="gpu-t4-", dir=args.scratch) as scratch:
            for _, vocab in of_base:
                yield in_a_process(base, vocab, args.steps, scratch)


def in_a_process(base: str, vocab: str, steps: int, scratch: str) -> dict[str, Any]:
    """A case by itself: its memory is its own, and running out of it stops nothing else."""
    command = [sys.executable, __file__, "--case", base, "--vocab", vocab, "--steps", str(steps), "--scratch", scratch]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    result = Path(scratch) / f"result-{vocab}.json"
    if result.is_file():
        return json.loads(result.read_text("utf-8"))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"base": base, "train_vocab": vocab, "failed": last[:300]}


def table(results: list[dict[str, Any]]) -> Table:
    grid = Table("base", "vocabulary", "planned GiB", "measured GiB", "off", "tokens/s", "LoRA B moved", "loss")
    for r in results:
        if "failed" in r:
            grid.add_row(r["base"], r["train_vocab"], "", "", "", "", "", r["failed"])
            continue
        planned, measured = r["planned_reserved_gib"], r["measured_reserved_gib"]
        figures = (f"{measured:.2f}", f"{measured / planned - 1:+.0%}") if measured is not None else ("no GPU", "")
        moved = f"{r['lora_b_moved']} of {r['lora_b']}"
        speed = f"{r['tokens_per_second']:,.0f}" if r["tokens_per_second"] else ""
        grid.add_row(r["base"], r["train_vocab"], f"{planned:.2f}", *figures, speed, moved, f"{r['final_loss']:.2f}")
    return grid


def offered(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Bases by vocabulary setting that the planner says fit a T4; the toy without CUDA."""
    import torch

    if not torch.cuda.is_available():
        return [(TOY.name, "none")]
    named = args.bases.split(",") if args.bases else list(known_bases())
    pairs = [(name, vocab) for name in named for vocab in args.vocab.split(",")]
    return [pair for pair in pairs if budget.plan(case_config(*pair, 20, True), cards.card("t4"), known_bases()[pair[0]]).fits]


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bases", default="", help="ids of bases.toml, comma between; all that fit without it")
    options.add_argument("--vocab", default="none,rows", help="values of lora.train_vocab, comma between")
    options.add_argument("--steps", type=int, default=20, help="optimiser steps of each case")
    options.add_argument("--scratch", type=Path, help="folder with room for a checkpoint, 16 GB for an 8B base")
    options.add_argument("--out", type=Path, help="write the figures as JSON")
    options.add_argument("--smoke", action="store_true", help="run every stage of the kit in small instead")
    options.add_argument("--case", default="", help=argparse.SUPPRESS)
    return options


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    import torch

    args = parser().parse_args(argv)
    if args.smoke:
        return smoke(args)
    if args.case:
        shape = TOY if args.case == TOY.name else known_bases()[args.case]
        write_json(args.scratch / f"result-{args.vocab}.json", run_case(shape, args.vocab, args.steps, args.scratch))
        return []
    if not torch.cuda.is_available():
        args.steps = min(args.steps, 3)
    results = []
    for result in in_processes(offered(args), args):
        print(json.dumps(result), flush=True)
        results.append(result)
    Console(width=150).print(table(results))
    on_gpu = torch.cuda.is_available()
    print(f"{torch.cuda.get_device_name(0)} capped at {VISIBLE} GiB, fp16 path: not a T4's speed" if on_gpu else NOT_RUN)
    if args.out:
        write_json(args.out, {"gpu": on_gpu, "results": results})
    return results


def smoke(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The stages named by --case in this process; without it all of them, in processes of their own."""
    import gpu_smoke

    if args.case:
        gpu_smoke.work(args.case.split(","), args.scratch)
        return []
    with tempfile.TemporaryDirectory(prefix="gpu-smoke-", dir=args.scratch) as scratch:
        return gpu_smoke.main(Path(scratch), args.out)


if __name__ == "__main__":
    sys.exit(any("failed" in row for row in main()))
