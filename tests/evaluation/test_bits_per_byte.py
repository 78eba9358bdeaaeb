"""Bits per byte of a long Urdu text against a computation of its own: plain transformers and peft, windows listed one by one."""

import math
import shutil

import pytest
from tiny_models import fitted, tiny_model

from alif_kit.core import config
from alif_kit.evaluation.generate import text_nll
from alif_kit.evaluation.metrics import bits_per_byte
from alif_kit.languages import pack
from alif_kit.model import unsloth as seam

TOKENS = 1500


def long_text(tokenizer):
    """The beginning of the pack's documents, one after another: 1,500 tokens of Urdu."""
    whole = "\n\n".join(document.text for document in pack.corpus("ur", "ur", "train"))
    places = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return whole[: places[TOKENS][0]]


def computed_apart(model, tokenizer, text, window):
    """The same measure, from its definition: a token is foretold in the first window that reaches it; all windows begin with the
    token that begins a text, and all but the first read `window // 2` tokens before those they score.
    """
    import torch

    start = tokenizer.bos_token_id or tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ids = torch.tensor([start, *tokenizer(text, add_special_tokens=False)["input_ids"]])
    context = window // 2
    begins = [1, *range(window, len(ids), window - 1 - context)]
    nats, scored = 0.0, 0
    for first, after in zip(begins, [*begins[1:], len(ids)], strict=True):
        seen = ids[1:after] if first == 1 else ids[first - context : after]
        with torch.no_grad():
            logits = model(input_ids=torch.cat([ids[:1], seen])[None]).logits[0, -1 - (after - first) : -1]
        for row, target in zip(logits, ids[first:after], strict=True):
            nats += float(row.double().logsumexp(-1) - row[target])
        scored += after - first
    assert scored == len(ids) - 1
    return nats / math.log(2) / len(text.encode())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3", "llama", "qwen3"])
def test_bits_per_byte_of_base_and_tuned_agree_with_a_computation_apart(name, tmp_path, monkeypatch):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(seam, "bfloat16_products", lambda: False)  # 1e-4 is asked for below, in the precision of the other side
    folder, adapter = tiny_model(name, tmp_path / "base"), tmp_path / "adapter"
    if name == "gemma3":  # 262,144 logits a token would take minutes
        folder = fitted(folder, tmp_path / "fitted")
    settings = config.load(
        "smoke", {"base.model": str(folder), "base.load_in_4bit": False, "lora.rank": 4, "lora.train_vocab": "none"}
    )
    fresh = seam.load(settings.base, folder)
    seam.attach(fresh, settings)
    torch.manual_seed(2)
    for weight in (p for n, p in fresh.model.named_parameters() if "lora_B" in n):
        torch.nn.init.normal_(weight, std=0.1)
    seam.save(fresh, adapter)
    if name == "gemma3":
        shutil.copy(folder / "fit.json", adapter)
    text, found = long_text(fresh.tokenizer), {}
    for stage, ours in (("base", seam.load(settings.base, folder)), ("tuned", seam.load(settings.base, folder, adapter))):
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if stage == "tuned":
            theirs = PeftModel.from_pretrained(theirs, str(adapter))
        for window in (64, 128, TOKENS + 1):  # their context is shorter than the 126 tokens that two layers of 64 reach
            found[stage, window] = bits_per_byte(text_nll(ours, text, window), len(text.encode()))
            assert found[stage, window] == pytest.approx(computed_apart(theirs.eval(), ours.tokenizer, text, window), abs=1e-4)
    assert len(set(found.values())) == 6, "each window and the adapter move the measure"


def test_a_window_of_any_size_scores_each_token_once():
    """Its sum over a stand-in that gives one nat to each token is the number of tokens."""
    from alif_kit.evaluation.generate import windowed_nll

    for length in (1, 2, 5, 16, 17, 100):
        for window in (3, 4, 5, 8, 16, 101):
            assert windowed_nll(list(range(length)), window, lambda piece, skip: len(piece) - 1 - skip) == length - 1
