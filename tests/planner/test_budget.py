"""The planner: peaks inferred for a T4, each part by its knob, what fits, what an hour buys, how far off a plan was."""

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.planner import bases, budget, cards, memory
from alif_kit.platforms import machine

LLAMA, MISTRAL, GEMMA = "unsloth/Meta-Llama-3.1-8B", "unsloth/mistral-7b-v0.3", "unsloth/gemma-3-4b-it"
T4 = cards.card("t4")


def planned(base, gpu=T4, modules=None, **changes):
    """A plan of the t4 preset at length 2048 and accumulation 4; changes as pretrain__batch_size=2."""
    shape = bases.find(base)
    given = {"base.chat_format": "native" if shape.instruct else "alpaca", "base.model": base, "base.max_seq_length": 2048}
    given |= {name.replace("__", "."): value for name, value in changes.items()}
    chosen = config.load("t4", given)
    return budget.plan(chosen, gpu, shape, vocab_modules=modules), chosen, shape


def test_k_quants_of_narrow_models_take_more_bits():
    base = bases.find("gemma-270m")
    sizes = memory.disk(config.load("t4"), config.load("t4").pretrain, base, {})
    assert sizes["gguf q4_k_m"] == pytest.approx(0.236, abs=0.01) and sizes["gguf q8_0"] == pytest.approx(0.272, abs=0.01)


def test_the_papers_trainable_share_is_what_peft_printed():
    plan, _, _ = planned(LLAMA, lora__rank=128, lora__train_vocab="full")
    assert plan.trainable_parameters == 335_544_320 + 2 * 525_336_576 == 1_386_217_472
    assert plan.trainable_share == 0.1472


def test_a_rank_16_adapter_of_llama_has_the_published_41_943_040_weights():
    assert planned(LLAMA)[0].trainable_parameters == 41_943_040


def test_nf4_with_double_quantisation_is_4_127_bits():
    assert pytest.approx(4.127, abs=1e-3) == memory.NF4 * 8


# Inferred for Llama-3.1-8B, without accumulation.
@pytest.mark.parametrize(
    ("rank", "vocab", "modules", "inferred", "fits"),
    [
        (128, "full", None, 21.4, False),
        (128, "none", None, 10.6, True),
        (16, "full", ("lm_head",), 11.8, True),
        (64, "full", ("embed_tokens",), 16.0, False),
    ],
)
def test_inferred_peaks_are_met(rank, vocab, modules, inferred, fits):
    plan, _, _ = planned(LLAMA, modules=modules, lora__rank=rank, lora__train_vocab=vocab, pretrain__gradient_accumulation=1)
    kept = 0.06 * 6_979_321_856 * (2 - memory.NF4) / 2**30  # of the linears, which the figures take to be quantised whole
    assert plan.peak_vram_gib - kept == pytest.approx(inferred, rel=0.02)
    assert plan.fits is fits


def test_parts_add_up_and_each_answers_to_its_own_knob():
    plan, _, _ = planned(GEMMA)
    assert sum(plan.parts.values()) == pytest.approx(plan.peak_vram_gib, abs=1e-6)
    changed = {
        "weights": {"base__load_in_4bit": False},
        "adapters": {"lora__rank": 32},
        "trained vocabulary": {"lora__train_vocab": "rows"},
        "optimiser": {"pretrain__optimiser": "adamw_torch"},
        "activations": {"pretrain__batch_size": 4},
        "loss chunk": {"base__max_seq_length": 4096, "pretrain__batch_size": 1, "lora__train_vocab": "full"},
        "gradients": {"lora__train_vocab": "rows"},
    }
    for part, change in changed.items():
        assert planned(GEMMA, **change)[0].parts[part] > plan.parts[part], part
    assert planned(GEMMA, pretrain__optimiser="adamw_torch")[0].parts["optimiser"] == pytest.approx(
        plan.parts["optimiser"] * 8 / memory.STATES, rel=0.02
    )


def test_a_trained_embedding_keeps_its_optimiser_state_in_32_bit_and_a_trained_head_does_not():
    embed = planned(LLAMA, modules=("embed_tokens",), lora__train_vocab="full")[0].parts["optimiser"]
    head = planned(LLAMA, modules=("lm_head",), lora__train_vocab="full")[0].parts["optimiser"]
    assert embed - head == pytest.approx(525_336_576 * (8 - memory.STATES) / 2**30, abs=2e-3)


def test_hidden_states_stay_on_the_card_up_to_2_mib_and_go_to_host_memory_above():
    shape = bases.find(LLAMA)
    assert not memory.offloads(shape, 256)  # 256 x 4096 x 2 bytes are 2 MiB
    assert memory.offloads(shape, 257)
    plan = planned(LLAMA)[0]
    assert plan.host_ram_gib == pytest.approx(memory.HOST_BASE + 31 * 32 / 1024, abs=0.01)
    assert any("31 hidden states of 32 MiB to host RAM" in note for note in plan.notes)


def test_the_loss_is_cut_in_4_where_it_would_pass_half_of_the_free_memory():
    shape = bases.find(LLAMA)
    logits = 4096 * 128256
    assert memory.loss_chunk(shape, 4096, 8 * 2**30) == 14 * logits / 4
    assert memory.loss_chunk(shape, 256, 8 * 2**30, whole_matrix=True) == 14 * logits / 16  # 0.49 GiB: whole
    assert memory.loss_chunk(shape, 256, 8 * 2**30) == 14 * logits / 64  # the newer kernel's is smaller still
    assert memory.loss_chunk(shape, 4096, 2 * 2**30) == 2**30 * 14 / 16  # the card is nearly full: pieces fill half of the rest


def test_never_more_than_90_percent_of_the_card_is_offered():
    plan, chosen, shape = planned(GEMMA)
    assert plan.offered_gib == round(0.9 * 14.563, 3) == 13.107
    best = budget.recommend(chosen, T4, shape)
    assert best["peak_vram_gib"] <= 13.107
    assert (best["length"], best["rank"]) == (2048, 128)


def test_the_paper_recipe_is_refused_on_a_t4_with_the_nearest_that_fits():
    shape, chosen = bases.find(LLAMA), config.load("paper")
    nearest = r"needs 25\.3 GiB, and t4 offers 13\.1 .* the nearest that fits is batch 4, train_vocab none, at 13\.0"
    with pytest.raises(UserError, match=nearest):
        budget.check(budget.plan(chosen, T4, shape), chosen, T4, shape)
    changes, need = budget.nearest(chosen, T4, shape)
    assert changes == {"batch": 4, "train_vocab": "none"} and need <= 13.107
    h100 = cards.card("h100")
    budget.check(budget.plan(chosen, h100, shape), chosen, h100, shape)


def test_a_base_that_no_setting_makes_fit_names_one_that_does():
    huge = bases.replace(bases.find(LLAMA), name="huge", layers=320)
    chosen = config.load("t4")
    with pytest.raises(UserError, match=r"no smaller setting of it fits; the largest base that does is unsloth/Qwen3-8B"):
        budget.check(budget.plan(chosen, T4, huge), chosen, T4, huge)


def test_a_p100_is_refused_with_the_reason():
    with pytest.raises(UserError, match="p100 cannot be used: today's torch has no kernels"):
        cards.card("p100")
    with pytest.raises(UserError, match="p100 cannot be used"):
        cards.card_here(machine.Gpu("Tesla P100-PCIE-16GB", 15.9, (6, 0)))


def test_the_card_that_is_here_is_known_by_name_and_memory():
    assert cards.card_here(None)[0].name == "t4"
    assert cards.card_here(machine.Gpu("Tesla T4", 15.0, (7, 5)))[0].visible_gib == 14.563
    assert cards.card_here(machine.Gpu("NVIDIA A100-SXM4-80GB", 80.0, (8, 0)))[0].name == "a100-80"
    other, reason = cards.card_here(machine.Gpu("GTX 9999", 10.0, (9, 0)))
    assert (other.visible_gib, other.bf16) == (9.7, True) and "not in gpus.toml" in reason


def test_an_8b_on_a_t4_does_150_to_300_tokens_a_second():
    assert 150 <= T4.tokens_per_second(bases.find(LLAMA)) <= 300


def test_words_per_hour_are_tokens_over_fertility_and_gemma_wins_among_bases_of_3b():
    plan, _, _ = planned(GEMMA)
    assert plan.urdu_words_per_hour == pytest.approx(0.9 * plan.tokens_per_second * 3600 / 1.47, rel=1e-3)  # a tenth is English
    assert plan.urdu_words_per_hour > 2 * planned("unsloth/Qwen3-4B-Instruct-2507")[0].urdu_words_per_hour
    name, reason = cards.recommend_base(T4)
    assert name == config.load("t4").base.model == GEMMA
    assert "smaller bases read more and know less" in reason
    assert cards.words_per_hour(bases.find("unsloth/gemma-3-1b-it"), T4) > plan.urdu_words_per_hour / 0.9  # hence the rule of 3B


def test_replay_is_no_urdu():
    with_it, without = (planned(GEMMA, corpus__replay_share=share)[0] for share in (0.25, 0.0))
    assert with_it.urdu_words_per_hour == pytest.approx(0.75 * without.urdu_words_per_hour, abs=1)
    assert with_it.tokens_per_second == without.tokens_per_second
    assert "Urdu words: 25% of what is read is English and not counted" in with_it.notes
    assert not any("is English" in note for note in without.notes)
    tuning = budget.plan(config.load("t4"), T4, bases.find(GEMMA), stage="finetune")
    assert tuning.urdu_words_per_hour == without.urdu_words_per_hour


def test_a_family_that_may_run_in_float32_gets_a_range_and_no_other():
    plan, chosen, shape = planned(GEMMA)
    assert plan.slowest == 0.24 == round(8.1 * 0.3 / (65 * 0.156), 3)
    assert plan.speed == "105 to 436 tokens/s, 230,412 to 960,051 Urdu words an hour"
    assert any("may run in float32 on t4" in note for note in plan.notes)
    assert planned(LLAMA)[0].slowest == 1.0 == budget.plan(chosen, cards.card("l4"), shape).slowest
    assert planned(LLAMA)[0].speed == "225 tokens/s, 249,019 Urdu words an hour"
    assert "105 to 436 planned" in budget.compare(plan, {"tokens_per_second": 200.0})[0]
    assert "about 0.26 to 1.07 million words" in cards.recommend_base(T4)[1]


def test_steps_share_and_dollars_follow_from_the_hours():
    plan, chosen, shape = planned(GEMMA)
    assert plan.tokens_per_step == 2 * 4 * 2048
    assert plan.steps == 1148  # 435.66 tokens/s x 43,200 s / 16,384
    assert (plan.usd, plan.corpus_share) == (0.0, None)
    words = plan.urdu_words_per_hour * 6
    assert budget.plan(chosen, T4, shape, hours=6, corpus_words=2 * words).corpus_share == pytest.approx(0.5, abs=1e-3)
    assert budget.plan(chosen, cards.card("h100"), shape, hours=2).usd == pytest.approx(5.38)
    assert budget.plan(chosen, cards.card("a100"), shape).usd is None


def test_compare_says_how_far_off_and_plans_again():
    plan, _, _ = planned(GEMMA)
    half = {"tokens_per_second": plan.tokens_per_second / 2, "peak_gib": plan.reserved_gib + 1}
    speed, memory_said = budget.compare(plan, half)
    assert "(-50%)" in speed and f"instead of {plan.steps:,}" in speed and "would take 24.0 hours" in speed
    assert "GiB are left of the 13.1 GiB offered" in memory_said
    assert "above what is safe" in budget.compare(plan, {"peak_gib": 13.5})[0]
    assert budget.compare(plan, {}) == []


def test_the_paper_s_recipe_fits_a_t4_with_a_fitted_vocabulary():
    whole, fitted = config.load("paper"), config.load("paper-t4")
    shape = bases.find(fitted.base.model)
    plan = budget.plan(fitted, cards.card("t4"), shape, hours=30)
    assert plan.fits and plan.peak_vram_gib == pytest.approx(11.4, abs=0.1)
    assert not budget.plan(whole, cards.card("t4"), shape).fits
    assert (fitted.lora, fitted.mixture, fitted.corpus) == (whole.lora, whole.mixture, whole.corpus)
    assert fitted.pretrain.batch_size * fitted.pretrain.gradient_accumulation == 64
    assert plan.settings["fit_rows"] == 32_000 and any("32,000 rows" in note for note in plan.notes)
    assert (plan.disk_gib["base"], plan.disk_gib["fitted base"]) == (14.96, 13.49)  # 8,030 and 7,242 million numbers of 16 bit


def test_more_rows_than_the_base_has_are_refused():
    with pytest.raises(UserError, match="base.fit_rows is 262,144, more than the 128,256 that base unsloth/Llama-3.2-3B"):
        budget.plan(config.load("t4", {"base.fit_rows": 262_144}), cards.card("t4"), bases.find("unsloth/Llama-3.2-3B-Instruct"))


def test_a_fitted_gemma_trains_both_matrices():
    chosen = config.load("t4", {"lora.train_vocab": "full", "base.fit_rows": 48_000})
    plan = budget.plan(chosen, cards.card("t4"), bases.find("unsloth/gemma-3-4b-it"))
    assert plan.fits and plan.peak_vram_gib == pytest.approx(7.6, abs=0.15)
