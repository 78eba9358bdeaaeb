"""novelty: the same decisions as comparing with everything, and the rule of template and payload."""

import random

from hypothesis import given
from hypothesis import strategies as st

from alif_kit import pack
from alif_kit.records import SeedTask
from alif_kit.synth.novelty import NoveltyGate, NoveltyIndex, rouge_l_f1

TOKENS = st.lists(st.sampled_from("abcdefgh"), max_size=14)


def lcs(left, right):
    row = [0] * (len(right) + 1)
    for a in left:
        diagonal = 0
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def brute_force(pool, tokens):
    scores = [rouge_l_f1(lcs(kept, tokens), len(kept), len(tokens)) for kept in pool]
    best = max(scores, default=0.0)
    return (best, scores.index(best)) if best > 0 else (0.0, -1)


def rouge_score_fmeasure(common, target, prediction):
    """The formula of rouge_score 0.1.2: `_score_lcs` and `scoring.fmeasure`."""
    precision, recall = common / prediction, common / target
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


@given(st.lists(TOKENS, max_size=12), TOKENS)
def test_best_match_equals_comparing_with_all(pool, tokens):
    index = NoveltyIndex()
    for kept in pool:
        index.add(kept)
    assert index.best_match(tokens) == brute_force(pool, tokens)
    assert index.is_novel(tokens) == (brute_force(pool, tokens)[0] <= 0.7)


def test_decisions_on_a_larger_zipfian_pool():
    draw = random.Random(1)
    words = [f"w{i}" for i in range(400)]
    weights = [1 / (i + 1) for i in range(400)]
    pool, index = [], NoveltyIndex()
    decisions = set()
    for _ in range(700):
        if pool and draw.random() < 0.5:
            tokens = list(draw.choice(pool))
            for _ in range(draw.randint(1, 8)):
                tokens[draw.randrange(len(tokens))] = draw.choice(words)
        else:
            tokens = draw.choices(words, weights, k=draw.randint(4, 30))
        expected = brute_force(pool, tokens)
        assert index.best_match(tokens) == expected
        assert index.is_novel(tokens) == (expected[0] <= 0.7)
        decisions.add(expected[0] <= 0.7)
        pool.append(tokens)
        index.add(tokens)
    assert decisions == {True, False}


def test_the_edge_at_seven_tenths_falls_as_in_rouge_score():
    """2 * 7 / 20 is 0.7 on paper; the float steps decide, and they are the reference's."""
    ties = [(c, m, n) for m in range(1, 60) for n in range(1, 60) for c in range(1, min(m, n) + 1) if 20 * c == 7 * (m + n)]
    above = [t for t in ties if rouge_l_f1(*t) > 0.7]
    assert all(rouge_l_f1(*t) == rouge_score_fmeasure(*t) for t in ties)
    assert 0 < len(above) < len(ties)
    for common, m, n in ties:
        index = NoveltyIndex(0.7)
        index.add([f"s{i}" for i in range(common)] + [f"k{i}" for i in range(m - common)])
        candidate = [f"s{i}" for i in range(common)] + [f"c{i}" for i in range(n - common)]
        assert index.is_novel(candidate) == (rouge_score_fmeasure(common, m, n) <= 0.7)


def test_nothing_matches_an_empty_sequence_or_an_empty_pool():
    index = NoveltyIndex()
    assert index.best_match(["a"]) == (0.0, -1) and index.is_novel(["a"])
    index.add([])
    index.add(["a"])
    assert index.best_match([]) == (0.0, -1) and index.is_novel([])
    assert index.best_match(["a"]) == (1.0, 1) and not index.is_novel(["a"])


def translation(instruction, text):
    return SeedTask("translation", instruction, "The output.", text)


def test_a_used_template_with_a_new_payload_survives_and_a_used_payload_does_not():
    gate = NoveltyGate(0.7)
    gate.add(translation("درج ذیل جملے کا انگریزی میں ترجمہ کریں۔", "آج موسم بہت خوشگوار ہے اور بچے باغ میں کھیل رہے ہیں۔"))
    assert (
        gate.judge(translation("درج ذیل جملے کا انگریزی میں ترجمہ کریں۔", "کل دفتر میں نئے سال کا بجٹ پیش کیا جائے گا۔"))[0] == ""
    )
    assert (
        gate.judge(translation("اسے انگریزی میں لکھیے۔", "آج موسم بہت خوشگوار ہے اور بچے باغ میں کھیل رہے تھے۔"))[0] == "not_novel"
    )


def test_without_a_payload_the_instruction_decides():
    gate = NoveltyGate(0.7)
    gate.add(SeedTask("qa", "دریائے سندھ کہاں سے نکلتا ہے؟", "جواب"))
    assert gate.judge(SeedTask("qa", "دریائے سندھ کہاں سے نکلتا ہے", "جواب"))[0] == "not_novel"
    assert gate.judge(SeedTask("qa", "مکھی شہد کیسے بناتی ہے؟", "جواب"))[0] == ""


def test_no_seed_is_lost_to_another():
    gate, lost = NoveltyGate(0.7), []
    for seed in (s for seeds in pack.seeds("ur").values() for s in seeds):
        reason, scores = gate.judge(seed)
        lost += [(seed.instruction, scores)] if reason else []
        gate.add(seed)
    assert lost == []
