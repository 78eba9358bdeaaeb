"""evaluation: measures worked by hand, and the two language-model figures against a plain computation."""

import math

import pytest

from alif_kit.core.records import Example
from alif_kit.evaluation import generate, metrics, sets

MARKER = "جواب:"


def test_bits_per_byte_of_a_fair_coin_a_byte():
    assert metrics.bits_per_byte(math.log(2), 1) == 1.0
    assert metrics.bits_per_byte(8 * math.log(2), 4) == 2.0


@pytest.mark.parametrize(
    "expected, given, same",
    [
        ("990 روپے", "۹۹۰", True),
        ("۹۹۰ روپے", "990 روپے۔", True),
        ("1250", "۱٬۲۵۰ کلومیٹر", True),
        ("12.5", "۱۲٫۵ فیصد", True),
        ("990", "۹۹", False),
        ("5 اور 6", "5", False),
        ("لاہور", "لاہور۔", True),
        ("لاہور", "کراچی", False),
        ("5", "", False),
        ("5", "معلوم نہیں", False),
    ],
)
def test_answers_compare_by_value_and_token(expected, given, same):
    assert metrics.same_answer(expected, given) is same


def test_the_last_marked_line_is_the_answer():
    assert metrics.final_answer("استدلال:\nجواب: 4\nپھر سوچا\nجواب: 5 روپے", MARKER) == "5 روپے"
    assert metrics.final_answer("پانچ", MARKER) == ""


def example(category, output, **more):
    return Example(category, "ہدایت یہ ہے۔", output, **more)


def test_spread_takes_the_categories_in_turn():
    examples = [example("qa", f"جواب {i}") for i in range(5)] + [example("ethics", f"نصیحت {i}") for i in range(2)]
    assert [e.category for e in sets.spread(examples, 5)] == ["ethics", "qa", "ethics", "qa", "qa"]


@pytest.fixture(scope="module")
def loaded():
    from alif_kit.core import config
    from alif_kit.training import trainer

    return trainer.load_base(config.load("smoke"))


def test_text_nll_counts_each_token_once(loaded):
    """With a window as long as the text it equals the model's own loss; with a short one each token still counts once."""
    import torch

    text = "The river carries silt from the mountains to the plain, and the plain keeps it."
    ids = [loaded.tokenizer.bos_token_id, *loaded.tokenizer(text, add_special_tokens=False)["input_ids"]]
    row = torch.tensor([ids])
    with torch.no_grad():
        own = float(loaded.model(input_ids=row, labels=row).loss) * (len(ids) - 1)
    assert generate.text_nll(loaded, text, 256) == pytest.approx(own, rel=1e-4)
    short = generate.text_nll(loaded, text, 8)
    assert short > 0 and short == pytest.approx(own, rel=0.5)


def test_window_bookkeeping_covers_every_token(loaded, monkeypatch):
    import torch

    monkeypatch.setattr(generate, "_token_losses", lambda model, ids: torch.ones(ids.shape[1] - 1))
    for words in (1, 5, 7, 8, 9, 40, 41):
        text = "a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0 . , ; : ! ?"[: 2 * words]
        count = len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
        assert generate.text_nll(loaded, text, 8) == count


def test_batching_does_not_change_greedy_answers(loaded):
    prompts = [
        f"<|bos|><|user|>\n{text}<|end|>\n<|assistant|>\n"
        for text in ("The river", "Rice is grown in many countries", "Cotton", "A clock")
    ]
    alone = [generate.answer_all(loaded, [p], 8, 1)[0] for p in prompts]
    assert generate.answer_all(loaded, prompts, 8, 4) == alone


def test_an_answer_ends_at_its_first_stop_token(loaded):
    end = loaded.tokenizer.eos_token_id
    words = loaded.tokenizer("river", add_special_tokens=False)["input_ids"]
    assert generate._cut(loaded.tokenizer, [*words, end, *words], {end}) == generate.Answer("river", True, len(words))
    assert not generate._cut(loaded.tokenizer, words, {end}).stopped
