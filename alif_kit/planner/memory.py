"""planner: the formulas: what each part of a run takes on the card, in host memory and on disk. No torch.

In: the configuration, a `Card`, a base's `Shape`. Out: bytes by named part, GiB of host memory and disk.

The peak is a sum of parts, in bytes, with T = batch x length tokens, h hidden size, V vocabulary, a bytes of a hidden state
(2; 4 where Unsloth runs a family in float32 on a card without bfloat16):
- weights: linears in NF4 with double quantisation, 4 + 8/64 + 32/(64 x 256) bits each (QLoRA, arXiv 2305.14314, section 3);
  embeddings, head, norms and image tower in 16 bit, and of the linears what Unsloth's own 4-bit checkpoint, which it loads in a
  base's place, keeps in 16 bit (bases.toml). A matrix trained whole leaves the card: Unsloth moves the original to disk.
- adapters: rank x (in + out) per linear, in float32 (model/unsloth.py, `train_in_float32`).
- trained vocabulary: `full` each matrix in float32; `rows` the rows in float32, and the merged 16-bit copy that PEFT's
  trainable tokens make of each matrix in every forward.
- gradients: float32, one per trained weight.
- optimiser: two states of 1 byte and two float32 scales per block of 256 (8-bit Adam, arXiv 2110.02861), but float32 for
  embed_tokens, as transformers and Unsloth 2026.10.9 ask of bitsandbytes; 8 bytes for a 32-bit Adam.
- activations: Unsloth's checkpointing keeps one hidden state per layer, T x h x a, in host RAM when it is above 2 MiB, and on
  the card the last layer's, two reload buffers, the final states and their gradient: 5; below 2 MiB one per layer stays. To
  these comes the layer being recomputed, T x a x 5 x (intermediate + query + key/value + h): gate, up, their product and two
  gradients in the MLP, as much beside each of the others. With 4, a public peak of a 14B model was 5 % above the plan.
- loss chunk: what the loss needs beyond the layer's recomputation, as the two never live at once. Unsloth cuts T x V logits of
  16 bytes (its bound; 14 used here, its count without soft-capping) into a multiple of 4 chunks, each under half of the memory
  free at the first forward and under 4 GiB; beyond 4 chunks each is taken to fill that. One chunk is enough when all fits the
  bound, but only with a matrix trained whole: else its newer kernel runs, which holds a few hundred rows of logits at a time,
  and a quarter is more than it uses. A matrix trained whole adds its gradient a second time while accumulation adds it up, one
  trained in rows the dense 16-bit gradient of its copy.
- loss chunk of a family that runs in float32 on a card without bfloat16 (Gemma-3): the full 16 bytes, beside the recomputation
  and not instead of it, and 0.2 GiB that allocations of this size leave unused. From three runs of bench/gpu_t4.py, which has
  their figures; with the formula above, the plan was up to 21 % too low for them.
- runtime: one dequantised weight, 7 % of the working memory lost to fragmentation, 0.15 GiB of CUDA context.

tests/planner/test_peaks.py holds the known peaks, public and our own: no plan is more than 3 % under them or 10 % over, once what
Unsloth held in those days and does not today is added to the public ones. It says which two public peaks are left out, and why.
"""

from __future__ import annotations

import math

from alif_kit.core.config import Config, Optimisation
from alif_kit.planner.bases import Shape
from alif_kit.planner.cards import Card

GIB = 2**30
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8
STATES = 2 * (1 + 4 / 256)  # bytes a weight of 8-bit Adam
STATE_BYTES = {"adamw_8bit": STATES, "adamw_bnb_8bit": STATES, "paged_adamw_8bit": STATES, "lion_8bit": STATES / 2, "sgd": 0.0}
CHUNK_CAP, LOGIT_BOUND, LOGIT_USED = 4 * GIB, 16, 14
FLOAT32_SLACK = 0.2 * GIB
CONTEXT, FRAGMENTATION = 0.15, 0.07
LAYER = 5  # tensors of each width that live while a layer is recomputed
HOST_BASE = 3.0  # GiB of Python, torch and the tokenizer [i]
NARROW_BITS = 7.4
"""Of q4_k_m where a row is no multiple of 256 and llama.cpp takes 5 to 8 bits instead; as measured on gemma-270m."""
GGUF_BITS = {"q8_0": 8.5, "q4_k_m": 4.85}  # bits a weight; q4_k_m as llama.cpp lists it for 8B models


def trained_weights(config: Config, base: Shape, modules: tuple[str, ...] | None = None) -> dict[str, int]:
    """Trained weights by where they are: adapters, and each vocabulary matrix."""
    counts = {"adapters": base.lora_parameters(config.lora.rank, config.lora.target_modules)}
    if config.lora.train_vocab == "none":
        return counts
    size = base.matrix if config.lora.train_vocab == "full" else urdu_rows(base) * base.hidden
    return counts | dict.fromkeys(base.vocab_modules if modules is None else modules, size)


def whole_matrices(config: Config, trained: dict[str, int]) -> list[str]:
    """Names of the vocabulary matrices that are trained whole."""
    return [name for name in trained if name != "adapters"] if config.lora.train_vocab == "full" else []


def urdu_rows(base: Shape) -> int:
    """Rows that train_vocab `rows` can train at most: known, else 4 % of the vocabulary (3.2 % in Gemma-3, 3.0 % in Llama-3.1)."""
    return base.urdu_rows or math.ceil(0.04 * base.vocabulary)


def parts_of(config: Config, opt: Optimisation, gpu: Card, base: Shape, trained: dict[str, int]) -> dict[str, float]:
    """The named parts of the peak, in bytes; the module's docstring has the formulas. `trained` is from `trained_weights`."""
    tokens = opt.batch_size * config.base.max_seq_length
    in_float32 = base.float32_on_fp16 and not gpu.bf16
    state = 4 if in_float32 else 2
    vocab = [name for name in trained if name != "adapters"]
    whole, rows = whole_matrices(config, trained), [] if config.lora.train_vocab == "full" else vocab
    sixteen = (len(base.vocab_modules) - len(whole)) * base.matrix + base.small_parameters + base.vision
    parts: dict[str, float] = {
        "weights": _linears(base, config.base.load_in_4bit) + 2 * sixteen,
        "adapters": 4 * trained["adapters"],
        "trained vocabulary": 4 * sum(trained[name] for name in vocab) + 2 * base.matrix * len(rows),
    }
    free = (gpu.visible_gib - CONTEXT) * GIB - sum(parts.values())
    parts["gradients"] = 4 * sum(trained.values())
    parts["optimiser"] = sum(_state_bytes(opt.optimiser, name) * count for name, count in trained.items())
    kept = tokens * base.hidden * state * (5 if offloads(base, tokens) else base.layers + 2)
    layer = tokens * state * LAYER * (base.intermediate + (base.heads + base.kv_heads) * base.head_dim + base.hidden)
    again = 4 * base.matrix if whole and opt.gradient_accumulation > 1 else 2 * base.matrix if rows else 0
    chunk = loss_chunk(base, tokens, free, LOGIT_BOUND if in_float32 else LOGIT_USED, bool(whole)) + again
    loss = chunk + FLOAT32_SLACK if in_float32 else max(0.0, chunk - layer)
    parts["activations"], parts["loss chunk"] = kept + layer, loss
    dequantised = state * base.hidden * base.intermediate if config.base.load_in_4bit else 0
    parts["runtime"] = dequantised + FRAGMENTATION * (kept + layer + loss) + CONTEXT * GIB
    return parts


def _linears(base: Shape, load_in_4bit: bool) -> float:
    """Bytes of the layers' linears: in NF4 but for the share that the 4-bit checkpoint keeps in 16 bit."""
    kept = base.kept_16bit if load_in_4bit else 1.0
    return base.linear_parameters * (NF4 * (1 - kept) + 2 * kept)


def _state_bytes(optimiser: str, module: str) -> float:
    """Bytes of optimiser state per weight; bitsandbytes keeps an nn.Embedding's in 32 bit. Unknown names count as 32-bit Adam."""
    each = STATE_BYTES.get(optimiser, 8.0)
    return 8.0 if module == "embed_tokens" and each == STATES else each


def offloads(base: Shape, tokens: int) -> bool:
    """Whether a layer's hidden states go to host RAM: only what is above 2 MiB in 16 bit does."""
    return 2 * tokens * base.hidden > 2 * 2**20


def loss_chunk(base: Shape, tokens: int, free: float, each: float = LOGIT_USED, whole_matrix: bool = False) -> float:
    """Bytes of one piece of Unsloth's fused cross entropy, `each` a logit, given the bytes free at the first forward.

    `whole_matrix`: a vocabulary matrix is trained whole. Unsloth takes the gradients of trained matrices off the target first,
    which makes smaller pieces: left out here.
    """
    target, logits = max(min(CHUNK_CAP, free / 2), 1.0), tokens * base.vocabulary
    exact = LOGIT_BOUND * logits / target
    if exact > 4:
        return target * each / LOGIT_BOUND
    return each * logits / (1 if exact <= 1 and whole_matrix else 4)


def host_ram(config: Config, opt: Optimisation, base: Shape) -> float:
    """GiB of host memory while training: the process, and the hidden states that checkpointing moves there."""
    tokens = opt.batch_size * config.base.max_seq_length
    offloaded = 2 * tokens * base.hidden * (base.layers - 1) if offloads(base, tokens) else 0
    return round(HOST_BASE + offloaded / GIB, 2)


def disk(config: Config, opt: Optimisation, base: Shape, trained: dict[str, int]) -> dict[str, float]:
    """GiB of the download, of two checkpoints (save_total_limit) and a third being written, and of each form of export."""
    count = sum(trained.values())
    checkpoint = 4 * count + sum(_state_bytes(opt.optimiser, name) * weights for name, weights in trained.items())
    loaded = _linears(base, config.base.load_in_4bit) + 2 * (base.total - base.linear_parameters)
    sizes = {"base": loaded, "one checkpoint": checkpoint}
    sizes |= {"checkpoints": 3 * checkpoint, "adapter": 4 * count, "merged": 2 * base.total}
    k_quant = GGUF_BITS["q4_k_m"] if base.hidden % 256 == 0 else NARROW_BITS
    sizes |= {
        f"gguf {name}": (bits if name == "q8_0" else k_quant) / 8 * (base.total - base.vision) for name, bits in GGUF_BITS.items()
    }
    return {name: round(size / GIB, 2) for name, size in sizes.items()}
