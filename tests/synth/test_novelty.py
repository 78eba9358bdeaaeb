"""novelty: the same decisions as comparing with everything, and the rule of template and payload."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.synth import novelty
from alif_kit.synth.novelty import NoveltyGate, NoveltyIndex, rouge_l_f1

TOKENS = st.lists(st.sampled_from("abcdefgh"), max_size=14)
# Candidates know tokens that no pool has, and the empty string is a token like any other.
ASKED = st.lists(st.sampled_from([*"abcdefgh", "unknown", "", "\0"]), max_size=14)
THRESHOLDS = st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])


@pytest.fixture
def early_common(monkeypatch):
    """Elements count as common from their second sequence on, and batches are of two: small pools take every path."""
    monkeypatch.setattr(novelty, "COMMON_COUNT", 2)
    monkeypatch.setattr(novelty, "COMMON_SHARE", 0.1)
    monkeypatch.setattr(novelty, "BATCH", 2)


def lcs(left, right):
    row = [0] * (len(right) + 1)
    for a in left:
        diagonal = 0
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


def rouge_score_fmeasure(common, target, prediction):
    """The formula of rouge_score 0.1.2: `_score_lcs` and `scoring.fmeasure`, one after the other."""
    if not target or not prediction:
        return 0
    precision, recall = common / prediction, common / target
    if precision + recall > 0:
        return 2 * precision * recall / (precision + recall)
    return 0.0


def brute_force(pool, tokens):
    scores = [rouge_score_fmeasure(lcs(kept, tokens), len(kept), len(tokens)) for kept in pool]
    best = max(scores, default=0.0)
    return (best, scores.index(best)) if best > 0 else (0.0, -1)


def index_of(pool, threshold=0.7):
    index = NoveltyIndex(threshold)
    for kept in pool:
        index.add(kept)
    return index


def agrees(index, pool, tokens):
    best = brute_force(pool, tokens)
    assert index.best_match(tokens) == best
    assert index.is_novel(tokens) == (best[0] <= index.threshold)


@given(st.lists(TOKENS, max_size=12), ASKED, THRESHOLDS)
def test_best_match_equals_comparing_with_all(pool, tokens, threshold):
    agrees(index_of(pool, threshold), pool, tokens)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TOKENS, max_size=40), st.lists(ASKED, min_size=1, max_size=4), THRESHOLDS)
def test_common_elements_and_batches_change_nothing(early_common, pool, asked, threshold):
    index = index_of(pool, threshold)
    for tokens in asked:
        agrees(index, pool, tokens)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TOKENS, st.booleans()), max_size=25))
def test_asking_and_adding_may_alternate(early_common, steps):
    pool, index = [], NoveltyIndex()
    for tokens, kept in steps:
        agrees(index, pool, tokens)
        if kept:
            pool.append(tokens)
            index.add(tokens)
    assert len(index) == len(pool)


@given(TOKENS.filter(bool), st.integers(1, 90), TOKENS)
def test_the_lowest_index_wins_among_equals(tokens, copies, other):
    pool = [other, *[list(tokens)] * copies, other]
    agrees(index_of(pool), pool, tokens)
    assert index_of(pool).best_match(tokens) == (1.0, pool.index(tokens))


@given(st.integers(1, 700), st.integers(0, 700), st.integers(0, 3))
def test_long_and_repetitive_sequences(repeats, others, kinds):
    """More of one token than a byte counts, and candidates longer than that of which little is known."""
    pool = [["a"] * 300 + ["b"] * 20, ["b"] * 5, ["a", "b"] * 150]
    tokens = ["a"] * repeats + [f"n{i}" for i in range(others)] + ["b"] * kinds
    agrees(index_of(pool), pool, tokens)


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


def sharing(common, length, mark):
    return [f"s{i}" for i in range(common)] + [f"{mark}{i}" for i in range(length - common)]


def test_scores_are_those_of_the_formula_table():
    """Every LCS of every pair of lengths to 24, to the last bit, the formula's two orders of target and prediction alike."""
    for m in range(1, 25):
        for n in range(1, 25):
            for common in range(1, min(m, n) + 1):
                score = rouge_score_fmeasure(common, m, n)
                assert rouge_l_f1(common, m, n) == score == rouge_score_fmeasure(common, n, m)
                assert index_of([sharing(common, m, "k")]).best_match(sharing(common, n, "c")) == (score, 0)
    assert rouge_l_f1(0, 3, 4) == rouge_l_f1(0, 0, 4) == rouge_l_f1(0, 3, 0) == 0.0


def test_the_edge_at_seven_tenths_falls_as_in_rouge_score():
    """2 * 7 / 20 is 0.7 on paper; the float steps decide, and they are the reference's."""
    ties = [(c, m, n) for m in range(1, 60) for n in range(1, 60) for c in range(1, min(m, n) + 1) if 20 * c == 7 * (m + n)]
    assert (7, 10, 10) in ties
    assert 0 < sum(rouge_score_fmeasure(*t) > 0.7 for t in ties) < len(ties)
    for common, m, n in ties:
        pool, candidate = [sharing(common, m, "k")], sharing(common, n, "c")
        assert rouge_l_f1(common, m, n) == rouge_score_fmeasure(common, m, n)
        agrees(index_of(pool), pool, candidate)


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
