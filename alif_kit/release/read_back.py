"""release: a GGUF file is opened and read back: does it say, cut and answer what the merged model does?

In: a GGUF, the merged folder, framed prompts, texts. Out: a JSON beside the file: architecture, template, stops, and, with
llama.cpp, tokens and greedy answers compared; and the file under the name of its state, x.gguf, x.wrong.gguf or x.unchecked.gguf:
what has not been compared is not known to be right. Wrong stops and wrong tokenizers are the classic faults of a GGUF.

    python -m alif_kit.release.read_back FILE.gguf < asked.json     what llama.cpp makes of texts, and where it stops, as JSON
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from alif_kit.core.config import Base, Config
from alif_kit.core.records import SeedTask, write_json
from alif_kit.core.run import latest_json
from alif_kit.languages import pack
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends, prompt_text
from alif_kit.release import weights
from alif_kit.release.gguf import named, need_llama, quiet
from alif_kit.release.logits import logits_of, nats

TEMPLATE, ENDS = "tokenizer.chat_template", ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
ODD = (
    "a  b   c\t\td\n\n\n\ne\n",
    "  def f(x):\n\n        return [x] * 12\n\n\n",
    "۱۲۳ 123 १२३ 😀👨\u200d👩\u200d👧 ❤️ ﷺ می\u200cروم \u200f\ufeff",
)
"""What tokenizers break on: runs of spaces and line breaks, digits of three scripts, joiners, emoji."""

NATS_OFF = ((8, -0.03, 0.03), (0, -1.0, 0.3))
"""By the bits that a file has a weight, at least: the shares by which its nats a token may be below and above the merged model's.
Of one that was trained too far, coarse weights foretell text better.
"""
READ, READ_LENGTH = 6, 96
"""Texts that both foretell, and how many tokens of each."""

Found = dict[str, Any]


def read_back(path: Path, merged: Path, base: Base, prompts: list[str], texts: list[str], budget: int = 48) -> tuple[Path, Found]:
    """Open a GGUF, compare it with the merged model, name it after its state; returns that name, and what is written beside it.

    `prompts` are framed, `texts` are not. Found: {"architecture", "template_is_the_models", "tokenizer_is_the_models",
    "ends_known", "text_only", "bytes", "state", "faults", "not_compared"}: state right, wrong or unchecked, faults in sentences,
    and why no answers were compared; with llama.cpp {"texts", "same_tokens"}: how many texts it reads as the model's tokenizer
    does; where nothing is wrong by then and the merged model fits, {"same_answers", "agreed", "stops", "n"}: `agreed` is the mean
    share of each answer before the two part, `stops` how many answers end by a token and not by the budget; and {"nats",
    "merged_nats", "nats_off", "tokens"}: of a token of the first texts, and by which share the file's are off.
    """
    if found := _known(path, merged):
        return path, found
    about = inspected(path, merged, base, [*prompts, *texts])
    about["not_compared"] = _why_not(merged) if "texts" in about else "llama.cpp is not installed"
    if not about["faults"] and not about["not_compared"]:
        about |= _compared(path, merged, base, prompts, texts, budget)
        about["faults"] = faults(about)
    about["state"] = "wrong" if about["faults"] else "right" if "n" in about else "unchecked"
    return _renamed(path, about), about


def inspected(path: Path, merged: Path, base: Base, texts: list[str]) -> Found:
    """What `read_back` finds without loading any weights."""
    tokenizer = _tokenizer(merged)
    ends = answer_ends(tokenizer, base.chat_format)
    about = _described(path, merged, tokenizer, ends)
    if importlib.util.find_spec("llama_cpp"):
        about |= _tokens_compared(path, tokenizer, texts, ends)
    return about | {"faults": faults(about)}


def faults(about: Found) -> list[str]:
    """What is wrong with a file, a sentence each; empty when all that was compared is right."""
    low, high = next((low, high) for bits, low, high in NATS_OFF if about.get("bits", 16) >= bits)
    found = {
        "its chat template is not the model's": about["template_is_the_models"],
        "its tokenizer is of another kind than the model's": about["tokenizer_is_the_models"],
        "its stop token ends no answer": about["ends_known"],
        "llama.cpp cuts {texts} texts, {same_tokens} of them as the model's tokenizer does, so its answers are not to be trusted": (
            about.get("same_tokens") == about.get("texts")
        ),
        "not one of its {n} answers begins like the merged model's": bool(about.get("agreed", True)),
        "{tokens} tokens of text cost it {nats:.2f} nats each, the merged model {merged_nats:.2f}": (
            low <= about.get("nats_off", 0) <= high
        ),
    }
    return [sentence.format_map(about) for sentence, right in found.items() if not right]


def _why_not(merged: Path) -> str:
    """Why this machine cannot load the merged model, in 16 bit on a card and in 32 on a CPU; empty where it can."""
    import psutil
    import torch

    size = weights.size(merged)
    if torch.cuda.is_available():
        needed, free, where = 1.2 * size, torch.cuda.mem_get_info()[0], "the card"
    else:
        needed, free, where = 2.2 * size, psutil.virtual_memory().available, "memory"
    return f"the merged model takes {needed / 1e9:.1f} GB of {where}, {free / 1e9:.1f} are free" if free < needed else ""


def _known(path: Path, merged: Path) -> Found | None:
    """What an earlier call found of a right file, which neither it nor the merged weights are younger than."""
    known = path.with_suffix(".json")
    made = [file.stat().st_mtime for file in (path, *merged.glob("*.safetensors"))]
    found = latest_json(known) if known.is_file() and known.stat().st_mtime >= max(made) else {}
    return found if found.get("state") == "right" and "nats" in found else None


def _renamed(path: Path, about: Found) -> Path:
    """The file under the name of its state, its JSON beside it, and nothing left under the other names."""
    target = named(path, about["state"])
    path.rename(target)
    for state in ("right", "unchecked", "wrong"):
        if (other := named(path, state)) != target:
            other.unlink(missing_ok=True)
            other.with_suffix(".json").unlink(missing_ok=True)
    write_json(target.with_suffix(".json"), about)
    return target


def _described(path: Path, merged: Path, tokenizer: Any, ends: set[int]) -> Found:
    """The file's own words against the tokenizer's: a wrong stop is the classic fault of a GGUF."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    names = ("general.architecture", "tokenizer.ggml.model", TEMPLATE, *ENDS)
    said = {name: fields[name].contents() for name in names if name in fields}
    # `llama` is ggml's name of SentencePiece; to take Gemma for GPT-2 is the converter's guess where tokenizer.model is missing.
    has_bytes = bool(getattr(tokenizer.backend_tokenizer.model, "byte_fallback", False))
    return {
        "architecture": said["general.architecture"],
        "template_is_the_models": said.get(TEMPLATE) == tokenizer.chat_template,
        "tokenizer_is_the_models": (said["tokenizer.ggml.model"] == "llama") == has_bytes,
        "ends_known": bool({said.get(name) for name in ENDS} & ends),
        "text_only": "vision_config" in json.loads((merged / "config.json").read_text("utf-8")),
        "bytes": path.stat().st_size,
        "bits": round(16 * path.stat().st_size / weights.size(merged), 2),
    }


def _tokenizer(merged: Path) -> Any:
    seam.prepare()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(merged)


def _tokens_compared(path: Path, tokenizer: Any, texts: list[str], ends: set[int]) -> Found:
    """How many texts llama.cpp cuts as the tokenizer does, and whether it stops at every end of an answer."""
    line = [sys.executable, "-m", "alif_kit.release.read_back", str(path)]  # a wrong tokenizer can abort llama.cpp's process
    asked = json.dumps({"texts": texts, "ends": sorted(ends)})
    done = subprocess.run(line, input=asked, capture_output=True, text=True)
    if done.returncode:
        return {"texts": len(texts), "same_tokens": 0}
    expected, said = tokenizer(texts, add_special_tokens=False)["input_ids"], json.loads(done.stdout.splitlines()[-1])
    same = sum(a == b for a, b in zip(expected, said["tokens"], strict=True))
    return {"texts": len(texts), "same_tokens": same, "ends_known": said["stops"] == sorted(ends)}


def _compared(path: Path, merged: Path, base: Base, prompts: list[str], texts: list[str], budget: int) -> Found:
    """Answers and the likelihood of texts: a damaged file may still begin an answer as the model does, and foretells worse."""
    mark, chosen = (merged / "config.json").stat().st_mtime_ns, tuple(sorted(texts, key=len)[-READ:])
    expected, theirs = _of_merged(merged, mark, base.chat_format, base.max_seq_length, tuple(prompts), chosen, budget)
    tokenizer = _tokenizer(merged)
    given, ids = llama_answers(path, prompts, tokenizer, budget), _cut(tokenizer, chosen)
    tokens, pairs = sum(len(row) - 1 for row in ids), list(zip(expected, given, strict=True))
    ours = llama_nats(path, ids) / tokens
    theirs /= tokens
    return {
        "same_answers": sum(a == b for (a, _), (b, _) in pairs),
        "agreed": sum(_agreed(a, b) for (a, _), (b, _) in pairs) / len(prompts),
        "stops": {"merged": sum(stopped for _, stopped in expected), "gguf": sum(stopped for _, stopped in given)},
        "n": len(prompts),
        **{"nats": round(ours, 4), "merged_nats": round(theirs, 4), "nats_off": round(ours / theirs - 1, 4), "tokens": tokens},
    }


def _cut(tokenizer: Any, texts: tuple[str, ...]) -> list[list[int]]:
    return [row[:READ_LENGTH] for row in tokenizer(list(texts))["input_ids"]]


@lru_cache(maxsize=1)
def _of_merged(
    merged: Path, mark: int, chat_format: str, length: int, prompts: tuple[str, ...], texts: tuple[str, ...], budget: int
) -> tuple[list[tuple[list[int], bool]], float]:
    """The merged model's answers and its nats of the texts, with which every quantisation of it is compared.

    `mark` changes when it is made anew.
    """
    loaded = seam.load(Base(str(merged), chat_format, False, length), merged)
    ends, ids = answer_ends(loaded.tokenizer, chat_format), _cut(loaded.tokenizer, texts)
    answers = [greedy(loaded, prompt, budget, ends) for prompt in prompts]
    total = sum(nats(logits, row) for logits, row in zip(logits_of(loaded, ids), ids, strict=True))
    del loaded
    seam.give_back()
    return answers, total


def llama_nats(path: Path, ids: list[list[int]]) -> float:
    """Nats of rows of token ids by a GGUF file in llama.cpp."""
    llama_cpp = need_llama("reading a GGUF back")
    quiet(llama_cpp)
    model, found = llama_cpp.Llama(str(path), n_ctx=2 * READ_LENGTH, logits_all=True, verbose=False), 0.0
    for row in ids:
        model.reset()
        model.eval(row)
        found += nats(model.scores[: len(row)], row)
    model.close()
    return found


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


def sample_texts(language: str) -> list[str]:
    """Texts to cut into tokens: the pack's seeds, its held-out documents and the English ones (262 of Urdu's), and odd ones."""
    seeds = [f"{task.instruction}\n\n{task.input}\n{task.output}" for tasks in pack.seeds(language).values() for task in tasks]
    return [*ODD, *seeds, *(document.text for of in (language, "en") for document in pack.corpus(language, of, "held_out"))]


def _print_tokens(path: str, asked: dict[str, Any]) -> None:
    llama_cpp = need_llama("reading a GGUF's tokenizer")
    quiet(llama_cpp)
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    tokens = [model.tokenize(text.encode("utf-8"), add_bos=False, special=True) for text in asked["texts"]]
    print(json.dumps({"tokens": tokens, "stops": [end for end in asked["ends"] if llama_cpp.llama_vocab_is_eog(vocabulary, end)]}))
    model.close()


if __name__ == "__main__":
    _print_tokens(sys.argv[1], json.load(sys.stdin))
