"""release: a GGUF file is opened and read back: does it say, cut and answer what the merged model does?

In: a GGUF, the merged folder, framed prompts. Out: a JSON beside the file: architecture, template, stops, and, with llama.cpp,
tokens and greedy answers compared. Wrong stops and wrong tokenizers are the classic faults of a GGUF.

    python -m alif_kit.release.read_back FILE.gguf < texts.json     the token ids that llama.cpp makes of the texts, as JSON
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from alif_kit.core.config import Base, Config
from alif_kit.core.records import SeedTask, write_json
from alif_kit.languages import pack
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends, prompt_text
from alif_kit.release.gguf import need_llama, quiet

TEMPLATE, ENDS = "tokenizer.chat_template", ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")


def read_back(path: Path, merged: Path, base: Base, prompts: list[str], budget: int = 48) -> dict[str, Any]:
    """Open a GGUF, compare its metadata and, with llama.cpp, its greedy answers with the merged model's; write that beside it.

    `prompts` are framed texts. Returned: {"architecture", "template_is_the_models", "ends_known", "bytes"} and, with llama.cpp,
    {"same_tokens", "same_answers", "agreed", "stops", "n"}: `same_tokens` whether it reads the prompts as the model's tokenizer
    does, `agreed` the mean share of each answer before the two part, `stops` how many answers end by a token and not by the budget.
    """
    about = _described(path, merged, base)
    if importlib.util.find_spec("llama_cpp"):
        about |= {"same_tokens": _same_tokens(path, merged, prompts)} | _answers_compared(path, merged, base, prompts, budget)
    write_json(path.with_suffix(".json"), about)
    return about


def _described(path: Path, merged: Path, base: Base) -> dict[str, Any]:
    """The file's own words against the tokenizer's: a wrong stop is the classic fault of a GGUF."""
    from gguf import GGUFReader

    fields, tokenizer = GGUFReader(path).fields, _tokenizer(merged)
    said = {name: fields[name].contents() for name in ("general.architecture", TEMPLATE, *ENDS) if name in fields}
    return {
        "architecture": said["general.architecture"],
        "template_is_the_models": said.get(TEMPLATE) == tokenizer.chat_template,
        "ends_known": bool({said.get(name) for name in ENDS} & answer_ends(tokenizer, base.chat_format)),
        "bytes": path.stat().st_size,
    }


def _tokenizer(merged: Path) -> Any:
    seam.prepare()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(merged)


def _same_tokens(path: Path, merged: Path, prompts: list[str]) -> bool:
    tokenizer = _tokenizer(merged)
    line = [sys.executable, "-m", "alif_kit.release.read_back", str(path)]  # a wrong tokenizer can abort llama.cpp's process
    done = subprocess.run(line, input=json.dumps(prompts), capture_output=True, text=True)
    expected = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == expected


def _answers_compared(path: Path, merged: Path, base: Base, prompts: list[str], budget: int) -> dict[str, Any]:
    loaded = seam.load(Base(str(merged), base.chat_format, False, base.max_seq_length), merged)
    ends = answer_ends(loaded.tokenizer, base.chat_format)
    expected = [greedy(loaded, prompt, budget, ends) for prompt in prompts]
    given = llama_answers(path, prompts, loaded.tokenizer, budget)
    return {
        "same_answers": sum(a == b for (a, _), (b, _) in zip(expected, given, strict=True)),
        "agreed": sum(_agreed(a, b) for (a, _), (b, _) in zip(expected, given, strict=True)) / len(prompts),
        "stops": {"merged": sum(stopped for _, stopped in expected), "gguf": sum(stopped for _, stopped in given)},
        "n": len(prompts),
    }


def greedy(loaded: seam.Loaded, prompt: str, budget: int, ends: set[int]) -> tuple[list[int], bool]:
    """Token ids of a greedy answer without its end, and whether it ended by itself."""
    import torch

    seam.ready_to_answer(loaded)
    ids = loaded.tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(loaded.device)["input_ids"]
    options = {"max_new_tokens": budget, "do_sample": False, "eos_token_id": sorted(ends)}
    options["pad_token_id"] = loaded.tokenizer.pad_token_id
    with torch.no_grad():
        out = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, ids.shape[1] :].tolist()
    return (out[:-1], True) if out and out[-1] in ends else (out, False)


def llama_answers(path: Path, prompts: list[str], tokenizer: Any, budget: int) -> list[tuple[list[int], bool]]:
    """The same of a GGUF file, by llama.cpp, on the same token ids."""
    llama_cpp = need_llama("reading a GGUF back")
    quiet(llama_cpp)
    model = llama_cpp.Llama(str(path), n_ctx=2048, verbose=False, seed=0)
    vocabulary, answers = llama_cpp.llama_model_get_vocab(model.model), []
    for prompt in prompts:
        model.reset()
        made = model.generate(tokenizer(prompt, add_special_tokens=False)["input_ids"], temp=0.0)
        # One more than the budget: the end may come right after it.
        tokens = list(takewhile(lambda token: not llama_cpp.llama_vocab_is_eog(vocabulary, token), islice(made, budget + 1)))
        answers.append((tokens[:budget], len(tokens) <= budget))
    model.close()
    return answers


def _agreed(left: list[int], right: list[int]) -> float:
    """The share of the longer answer before the two part."""
    longest = max(len(left), len(right))
    return len(os.path.commonprefix([left, right])) / longest if longest else 1.0


def sample_prompts(merged: Path, config: Config) -> list[str]:
    """Ten framed prompts: the first seeds of each category of the pack, and English ones."""
    tokenizer = _tokenizer(merged)
    seeds = [tasks[0] for tasks in pack.seeds(config.language).values()][:7]
    english = [SeedTask("qa", text, "-") for text in ("Say hello.", "What is the capital of France?", "Count from one to five.")]
    return [prompt_text(task, tokenizer, config.base.chat_format, config.mixture.system) for task in [*seeds, *english]]


def _print_tokens(path: str, texts: list[str]) -> None:
    llama_cpp = need_llama("reading a GGUF's tokenizer")
    quiet(llama_cpp)
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    print(json.dumps([model.tokenize(text.encode("utf-8"), add_bos=False, special=True) for text in texts]))
    model.close()


if __name__ == "__main__":
    _print_tokens(sys.argv[1], json.load(sys.stdin))
