"""Merging tensor by tensor: what peft's own merge gives, in every layout, whatever of the vocabulary was trained."""

import json
import shutil
import struct

import pytest

from alif_kit.core.errors import StoppedError, UserError
from alif_kit.model import checkpoint, merging, places, without_hub

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
VOCABULARY = 3072
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEXT = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.(q_proj|v_proj|down_proj)"
RENAMED = {
    "language_model.model.": "model.language_model.",
    "vision_tower.": "model.vision_tower.",
    "multi_modal_": "model.multi_modal_",
}


@pytest.fixture(scope="module")
def transformers():
    from alif_kit.model import unsloth as seam

    seam.prepare()
    import transformers

    return transformers


def make_config(transformers, name, tied):
    options = {
        **SHAPE,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if name == "Gemma3ForConditionalGeneration":
        tower = {**{k: SHAPE[k] for k in ("hidden_size", "intermediate_size", "num_attention_heads")}, "num_hidden_layers": 2}
        vision = transformers.SiglipVisionConfig(**tower, image_size=28, patch_size=7)
        text = transformers.Gemma3TextConfig(**options, sliding_window=16)
        return transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, tie_word_embeddings=tied)
    kind = {
        "Gemma3ForCausalLM": "Gemma3TextConfig",
        "LlamaForCausalLM": "LlamaConfig",
        "Qwen3ForCausalLM": "Qwen3Config",
    }[name]
    return getattr(transformers, kind)(**options)


def make_base(transformers, folder, name, tied=False, dtype="bfloat16", shard="20KB"):
    """A random model with the toy's tokenizer; its norms are not all one."""
    import torch

    torch.manual_seed(1)
    model = getattr(transformers, name)(make_config(transformers, name, tied)).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size=shard)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(f"{without_hub.resolve('tiny', 'ur', 3407)}/{file}", folder)
    return folder


def make_adapter(transformers, base, name, folder, **lora):
    """An adapter with random weights, saved by peft; returns it and the state that peft's own merge has."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = getattr(transformers, name).from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(
        model, LoraConfig(**{"r": 4, "lora_alpha": 16, "target_modules": LINEAR, "task_type": "CAUSAL_LM", **lora})
    )
    dice = torch.Generator().manual_seed(2)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=dice)
    tuned.save_pretrained(folder)
    return folder, tuned.merge_and_unload().state_dict()


def merged(base, adapter, folder, chat_format="native", update=lambda *said: None):
    return merging.merge(checkpoint.look(str(base)), adapter, folder, chat_format, update)


def assert_same(transformers, folder, name, expected, round_off=2**-8):
    """Every number of the merged model is peft's, rounded to the nearest, and none is missing or left over."""
    import torch

    model, said = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not said["missing_keys"] and not said["unexpected_keys"]
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for key, wanted in expected.items():
        wanted = wanted.float()
        assert ((state[key] - wanted).abs() <= 1.001 * round_off * wanted.abs() + 1e-7).all(), key
    return model


CASES = {
    "llama, untied": ("LlamaForCausalLM", False, {}),
    "llama, rslora": ("LlamaForCausalLM", False, {"use_rslora": True}),
    "llama, whole vocabulary": ("LlamaForCausalLM", False, {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "llama, rows": ("LlamaForCausalLM", False, {"trainable_token_indices": {"embed_tokens": [5, 9, 2000], "lm_head": [7, 3071]}}),
    "llama, rows of the embeddings": ("LlamaForCausalLM", False, {"trainable_token_indices": [5, 9, 2000]}),
    "llama, ranks by module": ("LlamaForCausalLM", False, {"rank_pattern": {"q_proj": 2}, "use_rslora": True}),
    "llama, trained norms": ("LlamaForCausalLM", False, {"modules_to_save": ["input_layernorm"]}),
    "llama, LoRA on the head": ("LlamaForCausalLM", False, {"target_modules": ["q_proj", "up_proj", "lm_head"]}),
    "qwen3, tied": ("Qwen3ForCausalLM", True, {"use_rslora": True}),
    "qwen3, tied, rows": ("Qwen3ForCausalLM", True, {"trainable_token_indices": {"embed_tokens": [5, 9, 2000]}}),
    "gemma3, tied, rows": ("Gemma3ForCausalLM", True, {"trainable_token_indices": {"embed_tokens": [5, 9, 2000]}}),
    "gemma3, tied, both trained": ("Gemma3ForCausalLM", True, {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "gemma3, tied, embeddings trained": ("Gemma3ForCausalLM", True, {"modules_to_save": ["embed_tokens"]}),
    "gemma3, tied, head trained": ("Gemma3ForCausalLM", True, {"modules_to_save": ["lm_head"]}),
    "gemma3 sees": ("Gemma3ForConditionalGeneration", True, {"target_modules": TEXT}),
    "gemma3 sees, rows": (
        "Gemma3ForConditionalGeneration",
        True,
        {"target_modules": TEXT, "trainable_token_indices": {"embed_tokens": [5, 9]}},
    ),
    "gemma3 sees, vocabulary": (
        "Gemma3ForConditionalGeneration",
        True,
        {"target_modules": TEXT, "modules_to_save": ["embed_tokens", "lm_head"]},
    ),
}


@pytest.mark.parametrize("name, tied, lora", CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_merged_model_is_pefts_own_merge(transformers, tmp_path, name, tied, lora):
    base = make_base(transformers, tmp_path / "base", name, tied)
    adapter, expected = make_adapter(transformers, base, name, tmp_path / "adapter", **lora)
    found = merged(base, adapter, tmp_path / "merged")
    model = assert_same(transformers, tmp_path / "merged", name, expected)
    assert 0 < found["matrix_difference"] < found["matrix_tolerance"] == 2**-8
    own_head = tied and "modules_to_save" in lora
    assert model.config.tie_word_embeddings is (tied and not own_head)
    held = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert len(set(held["weight_map"].values())) > 2  # the base's shards
    assert held["metadata"]["total_size"] == sum(t.size for t in checkpoint.look(str(tmp_path / "merged")).tensors.values())


@pytest.mark.filterwarnings("ignore")
def test_lora_on_a_tied_head_gives_the_head_a_matrix_of_its_own(transformers, tmp_path):
    """peft's own merge changes the embeddings with it; its model, unmerged, does not."""
    import torch
    from peft import PeftModel

    name, ids = "Qwen3ForCausalLM", torch.tensor([[5, 9, 100, 2000]])
    base = make_base(transformers, tmp_path / "base", name, True)
    adapter, _ = make_adapter(transformers, base, name, tmp_path / "adapter", target_modules=["q_proj", "up_proj", "lm_head"])
    merged(base, adapter, tmp_path / "merged")
    ours, plain = (getattr(transformers, name).from_pretrained(f, dtype=torch.float32) for f in (tmp_path / "merged", base))
    with torch.no_grad():
        expected = PeftModel.from_pretrained(plain, str(adapter)).eval()(input_ids=ids).logits
        assert (ours.eval()(input_ids=ids).logits - expected).abs().max() < 0.01 * expected.abs().max()
    assert ours.config.tie_word_embeddings is False


def rename(folder, change):
    """Rewrite the names of a checkpoint's tensors."""
    from safetensors.torch import load_file, save_file

    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
        path.unlink()
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    name = "adapter_model.safetensors" if (folder / "adapter_config.json").is_file() else "model.safetensors"
    save_file({change(key): tensor for key, tensor in tensors.items()}, folder / name, metadata={"format": "pt"})


def as_in_memory(key):
    return next((new + key.removeprefix(old) for old, new in RENAMED.items() if key.startswith(old)), key)


@pytest.mark.parametrize("lora", [{}, {"modules_to_save": ["embed_tokens", "lm_head"]}], ids=["lora", "vocabulary"])
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_sees_is_found_under_the_names_of_memory_too(transformers, tmp_path, lora):
    name = "Gemma3ForConditionalGeneration"
    base = make_base(transformers, tmp_path / "base", name, tied=True)
    on_disk = set(checkpoint.look(str(base)).tensors)
    rename(base, as_in_memory)
    assert "model.language_model.embed_tokens.weight" in checkpoint.look(str(base)).tensors
    assert "language_model.model.embed_tokens.weight" in on_disk
    adapter, expected = make_adapter(transformers, base, name, tmp_path / "adapter", target_modules=TEXT, **lora)
    merged(base, adapter, tmp_path / "merged")
    assert_same(transformers, tmp_path / "merged", name, expected)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_the_text_half_alone_fits_the_model_that_sees(transformers, tmp_path):
    name = "Gemma3ForConditionalGeneration"
    base = make_base(transformers, tmp_path / "base", name, tied=True)
    adapter, expected = make_adapter(transformers, base, name, tmp_path / "adapter", target_modules=TEXT)
    rename(adapter, lambda key: key.replace("model.language_model.layers", "model.layers"))
    assert "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" in checkpoint.header(adapter / places.WEIGHTS)
    merged(base, adapter, tmp_path / "merged")
    assert_same(transformers, tmp_path / "merged", name, expected)


def test_what_sees_is_copied_untouched(transformers, tmp_path):
    name = "Gemma3ForConditionalGeneration"
    base = make_base(transformers, tmp_path / "base", name, tied=True)
    (base / "preprocessor_config.json").write_text('{"image_processor_type": "Gemma3ImageProcessor"}')
    (base / "processor_config.json").write_text('{"processor_class": "Gemma3Processor"}')
    adapter, _ = make_adapter(transformers, base, name, tmp_path / "adapter", target_modules=TEXT)
    assert merged(base, adapter, tmp_path / "merged")["matrices"] == 6
    before, after = checkpoint.look(str(base)), checkpoint.look(str(tmp_path / "merged"))
    tower = [key for key in before.tensors if "vision" in key or "multi_modal" in key]
    assert len(tower) > 20 and before.tensors == after.tensors
    for key in tower:
        one, other = (checkpoint.read(m.folder / m.tensors[key].file, key) for m in (before, after))
        assert one.equal(other)
    for file in ("preprocessor_config.json", "processor_config.json"):
        assert (tmp_path / "merged" / file).read_text() == (base / file).read_text()


@pytest.mark.parametrize("of, made", [("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "bfloat16")])
@pytest.mark.filterwarnings("ignore")
def test_float16_stays_and_all_else_becomes_bfloat16(transformers, tmp_path, of, made):
    import torch

    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM", dtype=of)
    adapter, expected = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter")
    found = merged(base, adapter, tmp_path / "merged")
    round_off = {"float16": 2**-11, "bfloat16": 2**-8}[made]
    assert found["matrix_difference"] < found["matrix_tolerance"] == round_off
    assert_same(transformers, tmp_path / "merged", "LlamaForCausalLM", expected, round_off)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == made
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").dtype == getattr(torch, made)


def test_a_tied_head_that_the_file_holds_once_more_follows_and_one_of_its_own_does_not(transformers, tmp_path):
    from safetensors.torch import load_file, save_file

    base = make_base(transformers, tmp_path / "base", "Qwen3ForCausalLM", tied=True, shard="1GB")
    held = load_file(base / "model.safetensors")
    for folder, more in (("copy", 0.0), ("own", 0.5)):
        shutil.copytree(base, tmp_path / folder)
        head = {"lm_head.weight": held["model.embed_tokens.weight"] + more}
        save_file(held | head, tmp_path / folder / "model.safetensors", metadata={"format": "pt"})
        rows = {"trainable_token_indices": {"embed_tokens": [5, 9]}} if folder == "copy" else {}
        adapter, expected = make_adapter(transformers, tmp_path / folder, "Qwen3ForCausalLM", tmp_path / f"{folder}-a", **rows)
        merged(tmp_path / folder, adapter, tmp_path / f"{folder}-m")
        model = assert_same(transformers, tmp_path / f"{folder}-m", "Qwen3ForCausalLM", expected)
        assert (model.lm_head.weight == model.model.embed_tokens.weight).all() == (folder == "copy")


def test_at_most_one_matrix_of_the_base_is_held(transformers, tmp_path, monkeypatch):
    """However many shards: what was read before is gone when the next tensor is."""
    import weakref

    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM", shard="1GB")
    adapter, _ = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter")
    held, most, whole = [], [], checkpoint.read

    def counted(path, name):
        tensor = whole(path, name)
        held[:] = [reference for reference in held if reference() is not None]
        held.append(weakref.ref(tensor))
        most.append(sum(reference().numel() for reference in held))
        return tensor

    monkeypatch.setattr(merging, "read", counted)
    merged(base, adapter, tmp_path / "merged")
    largest = VOCABULARY * SHAPE["hidden_size"]
    assert len(most) > 50 and max(most) <= 2 * largest < sum(t.count for t in checkpoint.look(str(base)).tensors.values())


def test_an_interrupted_merge_begins_anew_and_progress_counts_to_its_total(transformers, tmp_path):
    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM")
    adapter, _ = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "model-00009-of-00009.safetensors").write_bytes(b"left from before")
    said = []
    found = merged(base, adapter, tmp_path / "merged", update=lambda done, note, total: said.append((done, total)))
    assert not (tmp_path / "merged" / "model-00009-of-00009.safetensors").exists()
    total = len(checkpoint.look(str(base)).tensors) + 14
    assert found["matrices"] == 14 and said == [(done, total) for done in range(1, total + 1)]


def test_a_matrix_that_is_not_what_it_should_be_stops_the_merge(transformers, tmp_path, monkeypatch):
    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM")
    adapter, _ = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter", modules_to_save=["lm_head"])
    right = merging.merged

    def wrong(of):
        def made(weight, change, sources, dtype):
            matrix = right(weight, change, sources, dtype)
            return matrix + 0.01 if change.source == of else matrix

        return made

    for name in ("model.layers.1.mlp.up_proj.weight", "lm_head.weight"):
        monkeypatch.setattr(merging, "merged", wrong(name))
        with pytest.raises(StoppedError, match=f"the merged {name} is .*% off base and adapter, where rounding allows 0.39%"):
            merged(base, adapter, tmp_path / "merged")


# The tokenizer and where answers end


def test_answers_end_at_every_token_that_ends_one_and_the_tokenizer_comes_along(transformers, tmp_path):
    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM")
    adapter, _ = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter")
    (base / "generation_config.json").write_text('{"eos_token_id": [7, 9], "temperature": 0.6, "do_sample": true}')
    (base / "tokenizer.model").write_bytes(b"pieces")
    merged(base, adapter, tmp_path / "merged")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    own = transformers.AutoTokenizer.from_pretrained(base)
    text = "یہ ایک جملہ ہے۔ A sentence."
    assert tokenizer(text)["input_ids"] == own(text)["input_ids"] and tokenizer.chat_template == own.chat_template
    assert (tmp_path / "merged" / "tokenizer.model").read_bytes() == b"pieces"
    said = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert said["eos_token_id"] == sorted({7, 9, own.eos_token_id}) and said["temperature"] == 0.6
    (base / "generation_config.json").unlink()
    merged(base, adapter, tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "generation_config.json").read_text()) == {
        "bos_token_id": 1,
        "eos_token_id": own.eos_token_id if own.eos_token_id == 2 else sorted({2, own.eos_token_id}),
        "pad_token_id": 0,
    }


def test_the_tokenizer_is_the_one_that_training_saved_beside_the_adapter(transformers, tmp_path):
    base = make_base(transformers, tmp_path / "base", "LlamaForCausalLM")
    adapter, _ = make_adapter(transformers, base, "LlamaForCausalLM", tmp_path / "adapter")
    own = transformers.AutoTokenizer.from_pretrained(base)
    own.chat_template = "{{ messages[0]['content'] }}|"
    own.save_pretrained(adapter)
    merged(base, adapter, tmp_path / "merged", "alpaca")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == "{{ messages[0]['content'] }}|"


# What is refused, before anything is written


@pytest.fixture(scope="module")
def pair(transformers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    base = make_base(transformers, folder / "base", "LlamaForCausalLM")
    rows = {"trainable_token_indices": {"embed_tokens": [5, 9]}}
    return base, make_adapter(transformers, base, "LlamaForCausalLM", folder / "adapter", **rows)[0]


def settings(folder, file="adapter_config.json", **changes):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def more(folder, **tensors):
    from safetensors.torch import load_file, save_file

    path = folder / places.WEIGHTS
    save_file(load_file(path) | tensors, path)


def place(name, rows=4, columns=32):
    import torch

    return {f"base_model.model.{name}": torch.zeros(rows, columns)}


Q = "base_model.model.model.layers.0.self_attn.q_proj"
REFUSED = {
    "four bit": (
        lambda b, a: settings(b, "config.json", quantization_config={"quant_method": "bitsandbytes"}),
        "bitsandbytes.*in 16 bit",
    ),
    "no place": (
        lambda b, a: more(a, **place("model.layers.2.self_attn.q_proj.lora_A.weight")),
        r"layers\.2.* has no places in the base",
    ),
    "an image tower": (
        lambda b, a: more(a, **place("model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight")),
        "vision_tower.* has no places",
    ),
    "dora": (
        lambda b, a: more(a, **place("model.layers.0.self_attn.q_proj.lora_magnitude_vector")),
        "lora_magnitude_vector has no",
    ),
    "twice": (
        lambda b, a: more(a, **place("language_model.model.layers.0.self_attn.q_proj.lora_A.weight")),
        "two tensors for model.layers.0",
    ),
    "half a pair": (
        lambda b, a: more(a, **place("model.layers.0.input_layernorm.lora_A.weight")),
        r"lora_A \[4, 32\] for .*layernorm",
    ),
    "whole and lora": (lambda b, a: more(a, **place("model.layers.0.self_attn.q_proj.weight", 32)), "whole"),
    "another shape": (
        lambda b, a: more(a, **place("model.layers.0.self_attn.q_proj.lora_A.weight", 4, 31)),
        r"lora_A \[4, 31\].*\[32, 32\]",
    ),
    "rows of no number": (
        lambda b, a: settings(a, trainable_token_indices=None),
        r"rows \[2, 32\].*name the adapter's own base",
    ),
    "LoRA on the embeddings": (
        lambda b, a: more(a, **place("model.embed_tokens.lora_embedding_A")),
        r"has LoRA on the embeddings \(.*embed_tokens.lora_embedding_A\), which nothing merges",
    ),
    "rows beyond": (lambda b, a: settings(a, trainable_token_indices={"embed_tokens": [5, 3072]}), r"rows \[2, 32\].*\[3072, 32\]"),
    "other settings": (lambda b, a: settings(a, alpha_pattern={"q_proj": 3}), "alpha_pattern"),
    "another kind": (lambda b, a: settings(a, peft_type="LOHA"), "of the kind LOHA; expected LORA"),
    "another beginning": (lambda b, a: settings(a, init_lora_weights="pissa"), "init_lora_weights = pissa"),
}


@pytest.mark.parametrize("change, said", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_merged_is_said_before_anything_is_written(pair, tmp_path, change, said):
    base, adapter = shutil.copytree(pair[0], tmp_path / "base"), shutil.copytree(pair[1], tmp_path / "adapter")
    change(base, adapter)
    with pytest.raises(UserError, match=said) as error:
        merged(base, adapter, tmp_path / "merged")
    assert "\n" not in str(error.value) and not (tmp_path / "merged").exists()


def test_weights_of_eight_bit_or_of_a_shard_elsewhere_are_refused(pair, tmp_path):
    import torch

    base = shutil.copytree(pair[0], tmp_path / "base")
    index = base / "model.safetensors.index.json"
    held = json.loads(index.read_text())
    shard = sorted(base.glob("model-*.safetensors"))[0]
    shutil.copy(shard, tmp_path / "elsewhere.safetensors")
    index.write_text(json.dumps(held | {"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(UserError, match=r"leads out of its folder"):
        checkpoint.look(str(base))
    index.write_text(json.dumps(held | {"weight_map": {"x": "model-9.safetensors"}}))
    with pytest.raises(UserError, match=r"holds no model-9.safetensors; expected a whole checkpoint"):
        checkpoint.look(str(base))
    index.unlink()
    checkpoint.write(base / "model.safetensors", {"x": checkpoint.Tensor("model.safetensors", "U8", (3,))}, [torch.zeros(3).byte()])
    assert checkpoint.look(str(base)).tensors == {"x": checkpoint.Tensor("model.safetensors", "U8", (3,))}
    said = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}}).encode()
    (base / "model.safetensors").write_bytes(struct.pack("<Q", len(said)) + said + bytes(3))
    with pytest.raises(UserError, match="holds weights of the kind F8_E4M3; name the same model in 16 bit"):
        checkpoint.look(str(base))
    (base / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="model.safetensors is cut off or no safetensors file"):
        checkpoint.look(str(base))
