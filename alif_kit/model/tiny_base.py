"""model: builds `tiny`, the base of the smoke preset: a small Llama trained from scratch on the pack's English only.

In: the pack's training documents. Out: an ordinary local checkpoint (safetensors, tokenizer.json, chat template) in the
cache, built once. Knowing some English and no Urdu, it lets a CPU show in minutes what continued pretraining gains in Urdu
and what it costs in English. It is a demonstration: it cannot hold a conversation.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from alif_kit.core.records import stable_id
from alif_kit.languages import pack
from alif_kit.model.cache import built, cache_folder

VOCABULARY = 3072
SPECIAL = ("<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3}
SHAPE |= {"num_attention_heads": 3, "num_key_value_heads": 3}
STEPS, BATCH, LENGTH, LEARNING_RATE = 120, 16, 128, 3e-3
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build(language: str, seed: int) -> Path:
    """The checkpoint's folder, training it first when the cache has none for this pack, seed and recipe."""
    english = [d.text for d in pack.corpus(language, "en", "train")]
    urdu = [d.text for d in pack.corpus(language, language, "train")]
    recipe = stable_id(english, urdu, seed, VOCABULARY, SHAPE, STEPS, BATCH, LENGTH, LEARNING_RATE, CHAT_TEMPLATE)

    def make(folder: Path) -> None:
        tokenizer = train_tokenizer([*english, *urdu])
        train_model(tokenizer, english, seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return built(cache_folder() / f"tiny-{language}-{recipe}", make)


def train_tokenizer(texts: list[str]) -> Any:
    """Byte-level BPE over both languages: any text round-trips, Urdu is not torn into single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    special = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **special, model_max_length=2048)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def train_model(tokenizer: Any, texts: list[str], seed: int) -> Any:
    """A Llama of about 2.5M parameters, trained on random windows of the texts with AdamW and a one-cycle rate."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 2048, **SHAPE}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **special, tie_word_embeddings=False))
    stream = [t for text in texts for t in [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    draw = random.Random(seed)
    model.train()
    for _ in range(STEPS):
        starts = [draw.randrange(len(stream) - LENGTH) for _ in range(BATCH)]
        batch = torch.tensor([stream[s : s + LENGTH] for s in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return model.eval()
