"""Reading answers: what models really write, and what must not be guessed."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alif_kit.evaluation.extract import letter, number, same_number, yes_no
from alif_kit.evaluation.number_words import words_to_number

NUMBERS = [
    # the marker, digits of all three kinds
    ("جواب: 12", "12"),
    ("جواب: ۱۲", "12"),
    ("جواب: ١٢", "12"),
    ("جواب:۱۲۔", "12"),
    ("جواب:\n۷۲", "72"),
    ("جواب: ۱۲ روپے", "12"),
    ("جواب: 12 روپے فی کلو", "12"),
    ("استدلال: ایک درجن میں ۱۲ انڈے ہوتے ہیں۔\n۳ × ۱۲ = ۳۶\nجواب: ۳۶", "36"),
    ("جواب: 5\nپھر دیکھا تو غلطی تھی۔\nجواب: 7", "7"),
    ("جواب ہے نہیں معلوم، مگر حساب یہ ہے۔\nجواب: 45", "45"),
    ("حتمی جواب: ۴۵", "45"),
    ("حتمی جواب ۴۵ ہے۔", "45"),
    ("درست جواب ہے: ۴۵", "45"),
    ("Answer: 45", "45"),
    ("The answer is 45.", "45"),
    ("Final answer: 45 rupees", "45"),
    ("3 + 4 = 7\n#### 7", "7"),
    ("اس لیے \\boxed{42} درست ہے۔", "42"),
    ("**جواب: 18**", "18"),
    ("جواب: `18`", "18"),
    # separators, decimals, money, units
    ("جواب: 1,250", "1250"),
    ("جواب: ۱٬۲۵۰", "1250"),
    ("جواب: 1,25,000", "125000"),
    ("جواب: ۱،۲۵،۰۰۰ روپے", "125000"),
    ("جواب: 12,345,678", "12345678"),
    ("جواب: Rs. 1,250/-", "1250"),
    ("جواب: Rs 990", "990"),
    ("جواب: $15", "15"),
    ("جواب: 25%", "25"),
    ("جواب: ۲۵ فیصد", "25"),
    ("جواب: 12.5", "25/2"),
    ("جواب: ۱۲٫۵ کلومیٹر", "25/2"),
    ("جواب: 0.75", "3/4"),
    ("جواب: 12.", "12"),
    ("جواب: 990.00 روپے", "990"),
    # signs and fractions
    ("جواب: -5", "-5"),
    ("جواب: −۵ درجے", "-5"),
    ("جواب: منفی ۵", "-5"),
    ("جواب: 3/4", "3/4"),
    ("جواب: ۳/۴ حصہ", "3/4"),
    ("جواب: 2 1/2 گھنٹے", "5/2"),
    ("جواب: ½", "1/2"),
    ("جواب: ۲½ کلو", "5/2"),
    # equations and explanations in the answer's line
    ("جواب: 3 × 4 = 12", "12"),
    ("جواب: ۱۰۰ - ۳۷ = ۶۳ روپے", "63"),
    ("جواب: 12 (3 × 4)", "12"),
    ("جواب: ۶۳ روپے (۱۰۰ میں سے ۳۷ گھٹا کر)", "63"),
    # words
    ("جواب: بارہ", "12"),
    ("جواب: پینتالیس روپے", "45"),
    ("جواب: ایک سو پچیس", "125"),
    ("جواب: دو ہزار تین سو", "2300"),
    ("جواب: دو لاکھ پچاس ہزار روپے", "250000"),
    ("جواب: ڈیڑھ گھنٹہ", "3/2"),
    ("جواب: ڈھائی کلو", "5/2"),
    ("جواب: سوا تین", "13/4"),
    ("جواب: ساڑھے چار بجے", "9/2"),
    ("جواب: پونے تین", "11/4"),
    ("جواب: ساڑھے تین سو", "350"),
    ("جواب: ڈیڑھ لاکھ", "150000"),
    ("جواب: صفر", "0"),
    # no cue: the last number, or the one after "so"
    ("کل ۲۴ طلبہ ہیں۔", "24"),
    ("علی کے پاس 5 آم تھے، 3 اور ملے۔ اب اس کے پاس 8 آم ہیں۔", "8"),
    ("پہلے دن ۱۰ صفحے، دوسرے دن ۱۵ صفحے۔ لہٰذا کل ۲۵ صفحے پڑھے گئے۔", "25"),
    ("18", "18"),
    ("اسے کل پندرہ روپے ملے۔", "15"),
    # not to be read
    ("", None),
    ("معلوم نہیں۔", None),
    ("جواب: معلوم نہیں", None),
    ("جواب: 15 یا 16", None),
    ("جواب: 10-12", None),
    ("جواب: ۱۰ سے ۱۲ تک", None),
    ("جواب: 5:30 بجے", None),
    ("جواب: دو یا تین", None),
    ("جواب: 3، 4 اور 5", None),
    ("جواب: یہ سوال نامکمل ہے۔", None),
]


@pytest.mark.parametrize("text, expected", NUMBERS, ids=range(len(NUMBERS)))
def test_the_number_of_an_answer(text, expected):
    assert number(text) == (None if expected is None else Fraction(expected))


def test_the_table_of_numbers_is_long_enough():
    assert len(NUMBERS) >= 70 and len({text for text, _ in NUMBERS}) == len(NUMBERS)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["0123456789", "۰۱۲۳۴۵۶۷۸۹", "٠١٢٣٤٥٦٧٨٩"]), st.sampled_from(["", ",", "٬", "،"]))
def test_any_number_is_read_back_in_any_digits_with_any_separator(n, digits, separator):
    written = f"{n:,}".replace(",", separator).translate(str.maketrans("0123456789", digits))
    assert number(f"استدلال: ۷ اور ۹ کو دیکھیں۔\nجواب: {written} روپے۔") == n


@pytest.mark.parametrize(
    "left, right, same",
    [
        ("1/3", "0.33", True),
        ("2/3", "0.67", True),
        ("1/3", "0.3", False),
        ("2", "2.00", True),
        ("2.01", "2", False),
        ("1/7", "0.143", True),
    ],
)
def test_a_rounded_number_is_the_same_from_two_decimals_on(left, right, same):
    assert same_number(Fraction(left), Fraction(right)) is same
    assert same_number(Fraction(right), Fraction(left)) is same


@pytest.mark.parametrize(
    "words, value",
    [
        ("ننانوے", 99),
        ("اناسی", 79),
        ("انسٹھ", 59),
        ("تین کروڑ", 30_000_000),
        ("پانچ ہزار چھ سو اٹھہتر", 5678),
        ("دو سو اور پچاس", 250),
        ("سو", 100),
        ("سوا سو", 125),
        ("پونے دو لاکھ", 175_000),
        ("ساڑھے", None),
        ("تین چار", None),
        ("کتاب", None),
    ],
)
def test_number_words(words, value):
    assert words_to_number(words) == value


OPTIONS = {"A": "کراچی", "B": "لاہور", "C": "پشاور", "D": "پشاور یا کوئٹہ"}
LETTERS = [
    ("B", "B"),
    (" B ", "B"),
    ("B.", "B"),
    ("B)", "B"),
    ("(B)", "B"),
    ("[B]", "B"),
    ("b", "B"),
    ("(b)", "B"),
    ("b.", "B"),
    ("**B**", "B"),
    ("Ｂ", "B"),
    ("B) لاہور", "B"),
    ("B: لاہور", "B"),
    ("B۔ لاہور", "B"),
    ("B\nکیونکہ لاہور پنجاب کا دارالحکومت ہے۔", "B"),
    ("Answer: B", "B"),
    ("answer: b", "B"),
    ("The answer is B.", "B"),
    ("The answer is (B) لاہور", "B"),
    ("The correct answer is B", "B"),
    ("The correct option is B.", "B"),
    ("Option C", "C"),
    ("I think A is correct.", "A"),
    ("جواب: B", "B"),
    ("جواب B", "B"),
    ("جواب: (ب)", "B"),
    ("صحیح جواب B ہے۔", "B"),
    ("درست جواب: ج", "C"),
    ("درست آپشن C ہے۔", "C"),
    ("آپشن C", "C"),
    ("آپشن C درست ہے۔", "C"),
    ("ب", "B"),
    ("الف", "A"),
    ("د۔", "D"),
    ("(ج) پشاور", "C"),
    ('{"answer": "C"}', "C"),
    ("لاہور", "B"),
    ("میرے خیال میں لاہور۔", "B"),
    ("پشاور یا کوئٹہ", "D"),
    ("A میں سمندر ہے مگر دارالحکومت نہیں۔\nصحیح جواب: B", "B"),
    ("Answer: A. Wait, the correct answer is C", "C"),
    ("آپشن A غلط ہے، آپشن B بھی نہیں۔ حتمی جواب: C", "C"),
    # not to be read
    ("", None),
    ("   ", None),
    ("none", None),
    ("معلوم نہیں۔", None),
    ("A یا B", None),
    ("A or B", None),
    ("A and C", None),
    ("A، B", None),
    ("The answer is A or B", None),
    ("صحیح جواب A یا B ہے", None),
    ("A\nB\nC\nD", None),
    ("A) کراچی\nB) لاہور\nC) پشاور", None),
    ("کراچی اور لاہور دونوں", None),
    ("E", None),
    ("Answer: E", None),
    ("A cat is an animal.", None),
    ("It is a question about a city.", None),
    ("اس کا جواب دینا مشکل ہے۔", None),
    ("یہ بات درست ہے۔", None),
    ("آپشن A یا آپشن C", None),
    ("اسلام آباد", None),
]


@pytest.mark.parametrize("text, expected", LETTERS, ids=range(len(LETTERS)))
def test_the_letter_of_an_answer(text, expected):
    assert letter(text, "ABCD", OPTIONS) == expected


def test_the_table_of_letters_is_long_enough_and_half_of_its_traps_are_unread():
    assert len(LETTERS) >= 50 and sum(expected is None for _, expected in LETTERS) >= 18


def test_five_options_have_five_letters():
    assert letter("E", "ABCDE") == "E" and letter("ہ", "ABCDE") == "E" and letter("D", "ABC") is None


YES_NO = [
    ("ہاں", True),
    ("ہاں۔", True),
    ("ہاں، یہ ممکن ہے۔", True),
    ("جی ہاں", True),
    ("جی ہاں، بالکل۔", True),
    ("بالکل", True),
    ("بالکل، ایسا ہی ہے", True),
    ("درست", True),
    ("یہ بات درست ہے۔", True),
    ("Yes", True),
    ("Yes, it can.", True),
    ("سوچیں تو یہ آسان ہے۔\nجواب: ہاں", True),
    ("نہیں", False),
    ("نہیں۔ لاہور سمندر کے کنارے نہیں۔", False),
    ("جی نہیں", False),
    ("جی نہیں، ایسا نہیں ہے۔", False),
    ("ہرگز نہیں", False),
    ("بالکل نہیں", False),
    ("غلط", False),
    ("یہ درست نہیں۔", False),
    ("No", False),
    ("False.", False),
    ("جواب: نہیں", False),
    ("", None),
    ("شاید", None),
    ("معلوم نہیں", None),
    ("غلط نہیں", None),
    ("ہاں بھی اور نہیں بھی", None),
    ("اس سوال کا تعلق تاریخ سے ہے اور اس پر بہت کچھ لکھا گیا ہے۔", None),
]


@pytest.mark.parametrize("text, expected", YES_NO, ids=range(len(YES_NO)))
def test_yes_or_no(text, expected):
    assert yes_no(text) is expected
