"""preflight: each check has its own message, and reads the rows once."""

from types import SimpleNamespace

import pytest
from letters import Letters

from alif_kit.core.errors import UserError
from alif_kit.platforms.machine import Gpu
from alif_kit.training import preflight

ROW = {"input_ids": [1, 5, 6, 2], "labels": [-100, -100, 6, 2]}


def test_good_rows_pass_and_say_their_share():
    once = iter([ROW, {"input_ids": [1, 7, 2], "labels": [-100, 7, 2]}])
    assert preflight.check_rows(once, Letters(), ends_with_eos=True, length=4) == {"loss_share": 0.5714, "longest_row": 4}


@pytest.mark.parametrize(
    "row, words",
    [
        ({"input_ids": [1, 1, 5, 2], "labels": [1, 1, 5, 2]}, "row 1 has 2 BOS"),
        ({"input_ids": [5, 2], "labels": [5, 2]}, "row 1 has 0 BOS"),
        ({"input_ids": [1, 5, 2], "labels": [-100] * 3}, "row 1 has no label under the loss"),
        ({"input_ids": [1, 5, 2], "labels": [-100, 5, -100]}, "row 1 has no EOS under the loss"),
        ({"input_ids": [1, 5, 6, 7, 2], "labels": [1, 5, 6, 7, 2]}, r"1 rows are longer than 4 tokens, the longest 5 \(rows 1\)"),
    ],
)
def test_each_bad_row_has_its_message(row, words):
    with pytest.raises(UserError, match=words):
        preflight.check_rows([ROW, row], Letters(), ends_with_eos=True, length=4)


def test_another_end_of_turn_counts_where_the_template_has_one():
    row = {"input_ids": [1, 5, 9], "labels": [-100, 5, 9]}
    with pytest.raises(UserError, match="no EOS"):
        preflight.check_rows([row], Letters(), ends_with_eos=True)
    assert preflight.check_rows([row], Letters(), ends_with_eos=True, ends={9})["longest_row"] == 3


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="no row to train on"):
        preflight.check_rows(iter(()), Letters(), ends_with_eos=False)


@pytest.mark.parametrize("changes", [{"eos_token_id": None}, {"pad_token_id": 2}, {"pad_token_id": None}])
def test_a_tokenizer_that_cannot_stop_is_refused(changes):
    with pytest.raises(UserError, match="EOS"):
        preflight.check_tokenizer(type("Broken", (Letters,), changes)())


def test_an_old_card_is_refused_by_name_and_a_cpu_is_for_smoke():
    with pytest.raises(UserError, match=r"Tesla P100.*compute capability 6\.0.*GPU T4 x2"):
        preflight.check_gpu(Gpu("Tesla P100-PCIE-16GB", 15.9, (6, 0)), "t4")
    assert preflight.check_gpu(Gpu("Tesla T4", 14.6, (7, 5)), "t4") == ""
    assert preflight.check_gpu(None, "smoke") == preflight.check_gpu(None, "cpu") == ""
    assert "a CPU is for `smoke` and `cpu`" in preflight.check_gpu(None, "t4")


class Model:
    """Named weights; a star marks the trainable ones."""

    def __init__(self, *names):
        self.weights = {n.strip("*"): SimpleNamespace(requires_grad=n.endswith("*"), numel=lambda: 10) for n in names}

    def named_parameters(self):
        return self.weights.items()


ADAPTER = ("layers.0.q_proj.base_layer.weight", "layers.0.q_proj.lora_A.default.weight*", "layers.0.q_proj.lora_B.default.weight*")
FULL = ("embed_tokens.modules_to_save.default.weight*", "lm_head.modules_to_save.default.weight*")
ROWS = ("embed_tokens.token_adapter.trainable_tokens_delta.default*", "lm_head.token_adapter.trainable_tokens_delta.default*")


@pytest.mark.parametrize(
    "extra, train_vocab, count", [((), "none", 0), (ROWS, "rows", 2), (ROWS[:1], "rows", 1), (FULL, "full", 2)]
)
def test_what_is_trained_is_what_was_asked_for(extra, train_vocab, count):
    model = Model("embed_tokens.weight", *ADAPTER, *extra)
    found = preflight.check_trainable(model, train_vocab, ("q_proj",))
    assert found == {"trainable_parameters": 20 + 10 * count, "trained_vocabulary_matrices": count}
    for other in {"none", "rows", "full"} - {train_vocab}:
        with pytest.raises(UserError, match=f"lora.train_vocab is {other}, but of the vocabulary {train_vocab} is trainable"):
            preflight.check_trainable(model, other)


def test_rows_and_a_whole_matrix_together_are_no_rows():
    with pytest.raises(UserError, match="of the vocabulary full is trainable"):
        preflight.check_trainable(Model(*ADAPTER, ROWS[0], FULL[1]), "rows")


def test_a_missing_adapter_is_named():
    with pytest.raises(UserError, match="no LoRA weight"):
        preflight.check_trainable(Model("layers.0.q_proj.weight*"), "none")
    with pytest.raises(UserError, match="k_proj has no trainable LoRA weight"):
        preflight.check_trainable(Model(*ADAPTER), "none", ("q_proj", "k_proj"))


def test_peft_s_trained_rows_are_seen_for_what_they_are():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 20}
    for tied, count in ((False, 2), (True, 1)):
        base = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=tied))
        chosen = {"embed_tokens": [3, 4]} if tied else {"embed_tokens": [3, 4], "lm_head": [3, 4]}
        model = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=chosen))
        found = preflight.check_trainable(model, "rows", ("q_proj",))
        assert found == {"trainable_parameters": 64 + 32 * count, "trained_vocabulary_matrices": count}
    names = [p for n, p in model.named_parameters() if p.requires_grad and "embed_tokens" in n]
    others = [p for n, p in model.named_parameters() if p.requires_grad and "embed_tokens" not in n]
    groups = [{"params": names, "lr": 1e-5}, {"params": others, "lr": 1e-3}]
    preflight.check_embedding_rate(model, torch.optim.AdamW(groups), 1e-5)


def optimiser_of(model, rates):
    """Groups of the model's trainable weights by rate, as an optimiser shows them."""
    groups = [{"params": [w for n, w in model.named_parameters() if part in n and w.requires_grad], "lr": r} for part, r in rates]
    return SimpleNamespace(param_groups=groups)


def test_the_vocabulary_learns_at_its_own_rate():
    model = Model(*ADAPTER, *FULL)
    good = (("lora_", 2e-4), ("modules_to_save", 1e-5))
    preflight.check_embedding_rate(model, optimiser_of(model, good), 1e-5)
    with pytest.raises(UserError, match="embed_tokens.*would learn at 0.0002, with 0 other weights.*expected 1e-05"):
        preflight.check_embedding_rate(model, optimiser_of(model, (("lora_", 2e-4), ("modules_to_save", 2e-4))), 1e-5)
    with pytest.raises(UserError, match="would learn at 1e-05, with 2 other weights"):
        preflight.check_embedding_rate(model, optimiser_of(model, (("", 1e-5),)), 1e-5)


def test_a_schedule_s_warm_up_hides_no_rate():
    model = Model(*ADAPTER, *FULL)
    optimiser = optimiser_of(model, (("lora_", 0.0), ("modules_to_save", 0.0)))
    optimiser.param_groups[1]["initial_lr"] = 1e-5
    preflight.check_embedding_rate(model, optimiser, 1e-5)


def test_disk_and_memory_must_hold_the_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 1024**3))
    assert preflight.check_disk(tmp_path / "not" / "yet", 3 * 1024**3) == 3 * 1024**3
    with pytest.raises(UserError, match=r"has 3.0 GiB free, the checkpoints need 4.0; free some space"):
        preflight.check_disk(tmp_path / "not" / "yet", 4 * 1024**3)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2 * 1024**3))
    assert preflight.check_memory(1024**3) == 2 * 1024**3
    with pytest.raises(UserError, match="2.0 GiB of host memory are free, saving a checkpoint needs 8.0"):
        preflight.check_memory(8 * 1024**3)
