"""A tiny random Gemma-3 that sees, with a real processor and tokenizer beside it: what gpu_smoke.py trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alif_kit.languages import pack

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
IMAGE = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
TEXT = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
TEXT |= {"head_dim": 32, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
TEXT |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "max_position_embeddings": 2048}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
TOWER |= {"image_size": 28, "patch_size": 7}


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
