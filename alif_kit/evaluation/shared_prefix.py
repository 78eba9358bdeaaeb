"""evaluation: lm-evaluation-harness's own model class, faster where the options of a question share their context.

In: a loaded model. Out: an `LM` for `lm_eval.simple_evaluate` with the same numbers as its `hf` model. The stock class runs the
whole context once per option; here it runs once, its keys and values are repeated for the options, and one short forward scores
them all. Options of one token need no second forward at all.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

from alif_kit.model.chat_format import conversation_text
from alif_kit.model.unsloth import Loaded, autocast, precision

OPTIONS_AT_ONCE = 16
"""Options in one forward: their repeated keys and values are what takes memory."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.05}
"""Nats per option within which the shared prefix must agree with the stock way on the first question, by the weights' type."""


def language_model(loaded: Loaded, chat_format: str, system: str = "", batch_size: int = 8, max_length: int = 2048) -> Any:
    """An lm-eval `LM` of a loaded model that frames prompts as the kit does (`native` or `alpaca`) and shares prefixes.

    On the first question its scores are compared with the stock class's; where they differ (a cache that cannot be repeated, a
    patched forward that takes one token at a time) the stock way is taken from then on, and `shares` says so.
    """
    from lm_eval.models.huggingface import HFLM

    class SharedPrefixLM(HFLM):
        shares: bool | None = None

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return conversation_text(chat_history, self.tokenizer, chat_format, system)

        @property
        def tokenizer_name(self) -> str:
            return f"{super().tokenizer_name}-{chat_format}"

        def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None) -> Any:
            groups, alone = _groups(requests, self.max_length)
            answers: dict[int, tuple[float, bool]] = {}
            stock = super()._loglikelihood_tokens
            for places in groups:
                if self.shares is None:
                    self._compare(requests, places, stock)
                if not self.shares:
                    alone += places
                    continue
                found = score_options(self.model, requests[places[0]][1], [requests[i][2] for i in places], self.device)
                answers |= zip(places, found, strict=True)
            if alone:
                answers |= zip(alone, stock([requests[i] for i in alone], disable_tqdm, override_bs), strict=True)
            return [answers[i] for i in range(len(requests))]

        def _compare(self, requests: Any, places: list[int], stock: Any) -> None:
            """Whether this model's cache can be shared: tried on one question, both ways."""
            allowed = TOLERANCE.get(str(self.model.dtype).removeprefix("torch."), 0.25)
            expected = stock([requests[i] for i in places], True, None)
            try:
                found = score_options(self.model, requests[places[0]][1], [requests[i][2] for i in places], self.device)
            except Exception:  # whatever a patched forward makes of a cache: the stock way works without one
                self.shares = False
                return
            self.shares = all(abs(a[0] - b[0]) <= allowed for a, b in zip(expected, found, strict=True))

    loaded.model.tie_weights = lambda: None  # lm-eval ties them anew, which fails where rows of a tied matrix were trained
    # Left to itself lm-eval puts the model onto a device; a quantised one must stay where it is.
    sizes = {"batch_size": batch_size, "max_length": max_length, "mixed_precision_dtype": precision(loaded.model)}
    return SharedPrefixLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, **sizes)


def _groups(requests: Any, max_length: int) -> tuple[list[list[int]], list[int]]:
    """Places of requests that share their context, two or more each, and of the others: lone ones, and those that must be cut."""
    by_context: dict[Any, list[int]] = defaultdict(list)
    for place, (_, context, continuation) in enumerate(requests):
        fits = len(context) + len(continuation) <= max_length + 1
        by_context[tuple(context) if fits else place].append(place)
    shared = [places for places in by_context.values() if len(places) > 1]
    return shared, [places[0] for places in by_context.values() if len(places) == 1]


def score_options(model: Any, context: list[int], options: list[list[int]], device: Any) -> list[tuple[float, bool]]:
    """Log-likelihood in nats of each option after the context, and whether greedy decoding would have written it.

    `context` [T], each option [k] token ids. One forward of [1, T], then one of [options, longest - 1] on its repeated cache.
    """
    import torch

    with torch.inference_mode(), autocast(model):
        prefix = torch.tensor([context], device=device)
        out = model(input_ids=prefix, use_cache=True, logits_to_keep=1)
        first = torch.log_softmax(out.logits[0, -1].float(), -1)
        scores = [[float(first[o[0]])] for o in options]
        greedy = [int(first.argmax()) == o[0] for o in options]
        longer = [i for i, option in enumerate(options) if len(option) > 1]
        for start in range(0, len(longer), OPTIONS_AT_ONCE):
            chosen = longer[start : start + OPTIONS_AT_ONCE]
            rest = _go_on(model, out.past_key_values, len(context), [options[i] for i in chosen], device)
            for i, (values, is_greedy) in zip(chosen, rest, strict=True):
                scores[i] += values
                greedy[i] &= is_greedy
    return [(sum(values), is_greedy) for values, is_greedy in zip(scores, greedy, strict=True)]


def _go_on(model: Any, cache: Any, length: int, options: list[list[int]], device: Any) -> list[tuple[list[float], bool]]:
    """The log-likelihoods of the tokens after each option's first; options are padded on the right, where nothing looks at them."""
    import torch

    width = max(map(len, options)) - 1
    rows = torch.tensor([o[:-1] + [0] * (width - len(o) + 1) for o in options], device=device)
    seen = torch.tensor([[1] * (length + len(o) - 1) + [0] * (width - len(o) + 1) for o in options], device=device)
    places = torch.arange(length, length + width, device=device).expand(len(options), -1)
    repeated = copy.deepcopy(cache)
    repeated.batch_repeat_interleave(len(options))
    logits = model(input_ids=rows, attention_mask=seen, position_ids=places, past_key_values=repeated, use_cache=True).logits
    likelihoods = torch.log_softmax(logits.float(), -1)
    best = likelihoods.argmax(-1)
    found = []
    for row, option in enumerate(options):
        targets = torch.tensor(option[1:], device=device)
        values = likelihoods[row, : len(targets)].gather(1, targets[:, None])[:, 0]
        found.append((values.tolist(), bool((best[row, : len(targets)] == targets).all())))
    return found
