"""Tiny random models of the architectures that the kit names as bases, each with its real tokenizer and chat template."""

import json
import shutil

from real_tokenizers import real_tokenizer

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
ARCHITECTURES = {
    "gemma3_sees": ("Gemma3ForConditionalGeneration", "gemma3"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "llama": ("LlamaForCausalLM", "llama3_2"),
    "mistral": ("MistralForCausalLM", "mistral_nemo"),
}
"""Class of transformers and tokenizer of `real_tokenizer`, by a short name; the first has an image tower and a processor."""


def tiny_model(name, folder, dtype="bfloat16"):
    """A checkpoint in `folder` as the Hub would give it: weights, tokenizer and, where it sees, the processor's files."""
    from alif_kit.model import unsloth as seam

    seam.prepare()
    import torch
    import transformers

    kind, tokenizer_name = ARCHITECTURES[name]
    tokenizer = real_tokenizer(tokenizer_name)
    torch.manual_seed(1)
    model = getattr(transformers, kind)(_config(name, tokenizer)).to(getattr(torch, dtype))
    model.generation_config.eos_token_id = model.config.get_text_config().eos_token_id
    model.save_pretrained(folder)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder)
    if name == "gemma3_sees":
        _write_processor(folder)
    return folder


def fitted(base, folder, add=0):
    """The same with a vocabulary of 16,384 rows, `add` of them new at most."""
    from alif_kit.fitting import fit

    fit(str(base), ["ur", "en"], folder, rows=16384, coverage=1.0, add=add, more={})
    return folder


def _config(name, tokenizer):
    import transformers

    said = json.loads((tokenizer / "tokenizer.json").read_text("utf-8"))
    ids = {token["content"]: token["id"] for token in said["added_tokens"]} | said["model"]["vocab"]
    if name.startswith("gemma3"):
        special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
        text = transformers.Gemma3TextConfig(
            **SMALL, **special, head_dim=16, vocab_size=262208 if name == "gemma3_sees" else 262144, sliding_window=64
        )
        if name == "gemma3":
            return text
        vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
        tower = transformers.SiglipVisionConfig(**vision, image_size=28, patch_size=7)
        return transformers.Gemma3Config(text_config=text, vision_config=tower, mm_tokens_per_image=4, tie_word_embeddings=True)
    size = -(-(max(ids.values()) + 1) // 64) * 64
    ends = {"qwen3": ("<|endoftext|>", "<|im_end|>"), "llama": ("<|begin_of_text|>", "<|eot_id|>"), "mistral": ("<s>", "</s>")}
    bos, eos = (ids[text] for text in ends[name])
    shape = {**SMALL, "head_dim": 16, "vocab_size": size, "bos_token_id": bos, "eos_token_id": eos, "max_position_embeddings": 8192}
    kinds = {"qwen3": transformers.Qwen3Config, "llama": transformers.LlamaConfig, "mistral": transformers.MistralConfig}
    return kinds[name](**shape, tie_word_embeddings=name != "mistral")


def _write_processor(folder):
    from transformers import AutoTokenizer, Gemma3ImageProcessorPil, Gemma3Processor

    image = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    Gemma3Processor(image, AutoTokenizer.from_pretrained(folder), image_seq_length=4).save_pretrained(folder)
