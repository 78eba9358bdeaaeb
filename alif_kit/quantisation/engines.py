"""quantisation: what answers in a quantisation study: weights in plain transformers, or a GGUF file in llama.cpp.

In: token ids of one text. Out: nats, likelihoods of options, greedy answers. Both have the same methods, so that all forms of a
model are asked by the same code.
"""

from __future__ import annotations

import os
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from alif_kit.evaluation.generate import piece_nll
from alif_kit.evaluation.shared_prefix import score_options
from alif_kit.release.gguf import need_llama, quiet

WINDOW = 512
"""Tokens that a document is read in: llama.cpp keeps the logits of all of them."""


class Transformers:
    """The merged weights in 16 bit, or rounded as they are loaded by bitsandbytes, in plain transformers."""

    def __init__(self, path: Path, form: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        # Few CPUs multiply in float16: there, 16 bit means bfloat16.
        how: dict[str, Any] = {"dtype": "auto", "device_map": {"": 0}} if on_gpu() else {"dtype": torch.bfloat16}
        self.model = AutoModelForCausalLM.from_pretrained(path, **how, **_rounding(form, path)).eval()

    def size(self, scratch: Path) -> int:
        """Bytes of the weights as this form is saved."""
        self.model.save_pretrained(scratch)
        return sum(p.stat().st_size for p in scratch.glob("*.safetensors"))

    def read(self, ids: list[int]) -> None:
        import torch

        with torch.inference_mode():
            self.model(input_ids=self._row(ids), logits_to_keep=1)

    def write(self, ids: list[int], count: int) -> None:
        self.answer(ids, count, set(), least=count)

    def nats(self, piece: list[int], skip: int) -> float:
        return piece_nll(self.model, piece, skip)

    def options(self, context: list[int], options: list[list[int]]) -> list[float]:
        return [nats for nats, _ in score_options(self.model, context, options, self.model.device)]

    def answer(self, ids: list[int], budget: int, ends: set[int], least: int = 0) -> list[int]:
        import torch

        limits = {"max_new_tokens": budget, "min_new_tokens": least, "eos_token_id": sorted(ends) or None, "pad_token_id": 0}
        row = self._row(ids)
        with torch.inference_mode():
            out = self.model.generate(row, attention_mask=row.new_ones(row.shape), do_sample=False, **limits)
        return [i for i in out[0, len(ids) :].tolist() if i not in ends]

    def for_scores(self) -> None:
        """Nothing to do: it gives the logits of every place as it is."""

    def _row(self, ids: list[int]) -> Any:
        import torch

        return torch.tensor([ids], device=self.model.device)


class LlamaCpp:
    """A GGUF file in llama.cpp, on all cores, and on a card where its build knows one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open(every_place=False)

    def _open(self, *, every_place: bool) -> None:
        llama = need_llama("measuring a GGUF")
        quiet(llama)
        options = {"n_ctx": 2 * WINDOW, "n_threads": os.cpu_count(), "n_gpu_layers": -1, "verbose": False}
        self.model = llama.Llama(str(self.path), logits_all=every_place, **options)

    def size(self, scratch: Path) -> int:
        return self.path.stat().st_size

    def read(self, ids: list[int]) -> None:
        self.model.reset()
        self.model.eval(ids)

    def write(self, ids: list[int], count: int) -> None:
        self.answer(ids, count, set())

    def for_scores(self) -> None:
        """Open the file again with room for the logits of every place, which is not the form's own memory."""
        self.model.close()
        self._open(every_place=True)

    def nats(self, piece: list[int], skip: int) -> float:
        self.read(piece)
        return -float(sum(self._likelihoods(range(skip, len(piece) - 1), piece[skip + 1 :])))

    def options(self, context: list[int], options: list[list[int]]) -> list[float]:
        self.read(context)
        end, scores = len(context), []
        for option in options:
            self.model.n_tokens = end  # the context's cache is kept, what stood behind it is written over
            if option[:-1]:
                self.model.eval(option[:-1])
            scores.append(float(sum(self._likelihoods(range(end - 1, end - 1 + len(option)), option))))
        return scores

    def answer(self, ids: list[int], budget: int, ends: set[int], least: int = 0) -> list[int]:
        self.model.reset()
        return list(islice(takewhile(lambda token: token not in ends, self.model.generate(ids, temp=0.0)), budget))

    def _likelihoods(self, places: range, tokens: list[int]) -> Any:
        from scipy.special import log_softmax

        rows = log_softmax(self.model.scores[places.start : places.stop].astype("float64"), axis=1)
        return rows[range(len(tokens)), tokens]


def _rounding(form: str, path: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoConfig, BitsAndBytesConfig

    if form == "16bit":
        return {}
    if form == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    compute = (AutoConfig.from_pretrained(path).dtype or torch.float16) if on_gpu() else torch.bfloat16
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=compute, **four)}


def on_gpu() -> bool:
    """Whether torch has a card."""
    import torch

    return torch.cuda.is_available()
