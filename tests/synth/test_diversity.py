"""diversity: hand-worked values, and measures that do not grow or shrink with the number of tasks."""

import random

from alif_kit.core.records import Example, Provenance
from alif_kit.synth import diversity


def test_the_moving_type_token_ratio_by_hand():
    # windows of 3 over a b a c: {a b a} 2/3, {b a c} 3/3; their mean is 5/6
    assert diversity.type_token_ratio(list("abac"), window=3) == round(5 / 6, 3)
    assert diversity.type_token_ratio(list("ab"), window=3) is None


def test_distinct_bigrams_by_hand():
    # ab ba ab | ca: three different of four
    assert diversity.distinct_bigrams([list("abab"), list("ca")], sample=4) == 0.75
    assert diversity.distinct_bigrams([list("ab")], sample=4) is None


def test_twice_as_many_tasks_of_the_same_kind_measure_the_same():
    draw = random.Random(1)
    words = [f"w{i}" for i in range(500)]
    tokens = draw.choices(words, k=20_000)
    half, whole = diversity.type_token_ratio(tokens[:10_000]), diversity.type_token_ratio(tokens)
    assert abs(half - whole) < 0.01 < 1 - whole


def test_each_category_has_its_row():
    scores = ({"nearest_rouge_l": 0.2}, {"nearest_rouge_l": 0.4})
    pool = [Example("qa", "سوال", "جواب", provenance=Provenance("t", n, 1, "h", scores=s)) for n, s in enumerate(scores)]
    rows = diversity.measure(pool, seed=1)
    assert rows["qa"] == {"tasks": 2, "mattr_50": None, "distinct_2": None, "nearest_rouge_l": 0.3}
    assert rows["ethics"]["tasks"] == 0
