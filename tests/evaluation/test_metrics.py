"""Metrics: the same as the reference implementations on random input, and right on cases worked by hand."""

import random

import pytest

from alif_kit.evaluation import metrics

DRAW = random.Random(3)
WORDS = [
    "یہ",
    "ایک",
    "اچھا",
    "گھر",
    "ہے",
    "اور",
    "وہ",
    "کتاب",
    "میز",
    "پر",
    "رکھی",
    "تھی",
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "بارش",
    "ہو",
    "رہی",
    "ہے",
]


def sentences(n):
    return [" ".join(DRAW.choices(WORDS, k=DRAW.randint(3, 9))) + "۔" for _ in range(n)]


def test_macro_f1_is_scikit_learns():
    from sklearn.metrics import f1_score

    for _ in range(50):
        expected, given = DRAW.choices("abc", k=40), DRAW.choices("abcd", k=40)
        labels = sorted(set(expected))
        theirs = f1_score(expected, given, labels=labels, average="macro", zero_division=0.0)
        assert metrics.macro_f1(expected, given) == pytest.approx(theirs)


def test_an_unread_answer_is_a_miss_of_its_label():
    assert metrics.macro_f1(["a", "a", "b"], ["a", None, "b"]) == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.macro_f1(["a", "b"], [None, None]) == 0.0


def test_translation_scores_are_sacrebleus():
    import sacrebleu

    for _ in range(10):
        answers, references = sentences(12), sentences(12)
        found = metrics.translation_scores(answers, references)
        assert found["chrf++"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references], word_order=2).score)
        assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references], tokenize="intl").score)


def test_paired_translation_tests_find_a_copy_better_and_a_twin_the_same():
    references = sentences(40)
    worse = [" ".join(r.split()[::-1]) for r in references]
    found = metrics.translation_tests({"base": worse, "copy": references}, references, 7)
    assert found["chrf++"]["copy"]["value"] == pytest.approx(100) and found["chrf++"]["copy"]["p"] < 0.01
    assert found["bleu"]["base"]["low"] <= found["bleu"]["base"]["value"] <= found["bleu"]["base"]["high"]
    twin = metrics.translation_tests({"base": worse, "twin": worse}, references, 7)
    assert twin["chrf++"]["twin"]["p"] > 0.5
    assert metrics.translation_tests({"base": worse}, references, 7)["bleu"]["base"]["p"] is None


PUBLISHED = {
    "base": ([42.8, 58.9, 27.3, 45.6, 30.5, 61.4, 54.3], 45.83, 45.93),
    "alif": ([90.2, 89.3, 85.7, 83.5, 73.8, 93.9, 94.3], 87.24, 87.21),
    "qalb": ([85.97, 94.41, 90.83, 88.59, 80.40, 96.38, 95.79], 90.34, 90.40),
}
COUNTS = [144, 161, 156, 170, 149, 152, 152]


@pytest.mark.parametrize("name", PUBLISHED)
def test_both_means_of_the_published_table(name):
    scores, plain, weighted = PUBLISHED[name]
    found = metrics.weighted_means({str(i): pair for i, pair in enumerate(zip(scores, COUNTS, strict=True))})
    assert [round(value, 2) for value in found] == [plain, weighted]


@pytest.mark.parametrize(
    "text, share",
    [
        ("", 0.0),
        ("ایک دو تین چار", 0.0),
        ("ایک دو تین چار پانچ", 0.0),
        ("بہت اچھا بہت اچھا بہت اچھا بہت اچھا", 0.6),
        ("ہاں " * 13, 0.9),
    ],
)
def test_repetition_is_the_share_of_repeated_four_grams(text, share):
    assert metrics.repetition(text) == pytest.approx(share)


def test_kappa_and_rank_correlation():
    assert metrics.cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0]) == pytest.approx(0.5)
    assert metrics.cohen_kappa([1, 5, 10], [1, 5, 10], "quadratic") == pytest.approx(1.0)
    assert metrics.cohen_kappa([1, 1], [1, 1]) is None and metrics.cohen_kappa([], []) is None
    assert metrics.rank_correlation([1, 2, 3], [30, 20, 10]) == pytest.approx(-1.0)
    assert metrics.rank_correlation([1, 2], [1, 2]) is None and metrics.rank_correlation([1, 1, 1], [1, 2, 3]) is None
