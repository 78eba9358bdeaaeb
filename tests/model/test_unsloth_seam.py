"""The seam against what Unsloth's loader returns on a card, where it is not what it returns on a CPU."""

from types import SimpleNamespace

import torch

from alif_kit.core.config import Base
from alif_kit.model import unsloth as seam


def test_of_a_processor_the_tokenizer_is_taken(monkeypatch):
    """On CUDA a base that also sees (gemma-3-4b) comes with a Gemma3Processor, which nests what it tokenises (unsloth#2213)."""
    monkeypatch.setattr(seam, "_cpu_dtype", lambda path: torch.float32)
    model, tokenizer = torch.nn.Linear(1, 1), SimpleNamespace(pad_token_id=0, eos_token_id=1)
    processor = SimpleNamespace(tokenizer=tokenizer, image_processor=object())
    for returned in (processor, tokenizer):
        loader = SimpleNamespace(from_pretrained=lambda *_, returned=returned, **__: (model, returned))
        monkeypatch.setattr(seam, "prepare", lambda loader=loader: SimpleNamespace(FastLanguageModel=loader))
        assert seam.load(Base("gemma"), "gemma") == seam.Loaded(model, tokenizer, "cpu")


def test_likelihoods_are_computed_as_answers_are(monkeypatch):
    """Unsloth's generate casts to float16 what it keeps in float32 (Gemma-3 on a T4), else to the model's own 16 bit."""
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: asked.append((device, dtype)))
    half, brain, single = torch.float16, torch.bfloat16, torch.float32
    for device, dtype, forced, expected in (
        ("cuda", single, True, half),
        ("cuda", half, False, half),
        ("cuda", brain, False, brain),
        ("cuda", "float16", None, half),
        ("cuda", single, False, None),
        ("cpu", single, True, None),
        ("cpu", brain, False, brain),
    ):
        said = dtype if device == "cuda" else brain
        model = SimpleNamespace(device=torch.device(device), config=SimpleNamespace(dtype=said), dtype=dtype)
        model._unsloth_forced_float32 = forced
        assert seam.precision(model) == expected
        asked.clear()
        seam.autocast(model)
        assert asked == ([] if expected is None else [(device, expected)])


def test_every_likelihood_is_taken_in_that_precision(monkeypatch):
    """Of a text, of options that share a question, and of lm-eval's own way: a bfloat16 cast moves each of them."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from alif_kit.evaluation.generate import piece_nll
    from alif_kit.evaluation.shared_prefix import language_model, score_options

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
    model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=64, bos_token_id=1, eos_token_id=2)).eval()
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2}, "<pad>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    lm = lambda: language_model(seam.Loaded(model, tokenizer, "cpu"), "alpaca", max_length=32)  # noqa: E731

    def measured():
        stock = lm()._model_call(torch.tensor([[5, 6, 7]])).float().log_softmax(-1)[0, -1, 9]
        return [
            piece_nll(model, [1, 5, 6, 7, 8], 0),
            score_options(model, [5, 6, 7], [[8, 9], [10, 11]], "cpu")[0][0],
            float(stock),
        ]

    plain = measured()
    monkeypatch.setattr("alif_kit.evaluation.shared_prefix.precision", lambda model: torch.bfloat16)
    for place in ("alif_kit.evaluation.shared_prefix.autocast", "alif_kit.model.unsloth.autocast"):
        monkeypatch.setattr(place, lambda model: torch.autocast("cpu", dtype=torch.bfloat16))
    for exact, cast in zip(plain, measured(), strict=True):
        assert exact != cast and abs(exact - cast) < 0.02
