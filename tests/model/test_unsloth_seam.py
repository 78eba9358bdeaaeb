"""The seam against what Unsloth's loader returns on a card, where it is not what it returns on a CPU."""

from types import SimpleNamespace

import torch

from alif_kit.core.config import Base
from alif_kit.model import unsloth as seam


def test_of_a_processor_the_tokenizer_is_taken(monkeypatch):
    """On CUDA a base that also sees (gemma-3-4b) comes with a Gemma3Processor, which nests what it tokenises (unsloth#2213)."""
    model, tokenizer = torch.nn.Linear(1, 1), SimpleNamespace(name="tokenizer")
    processor = SimpleNamespace(tokenizer=tokenizer, image_processor=object())
    for returned in (processor, tokenizer):
        loader = SimpleNamespace(from_pretrained=lambda *_, returned=returned, **__: (model, returned))
        monkeypatch.setattr(seam, "prepare", lambda loader=loader: SimpleNamespace(FastLanguageModel=loader))
        assert seam.load(Base("gemma"), "gemma") == seam.Loaded(model, tokenizer, "cpu")
