"""evaluation: Urdu number words, as answers use them: "بارہ", "ڈھائی", "ساڑھے چار", "دو لاکھ پچاس ہزار".

In: a phrase. Out: its value as a fraction, or None where no number word stands.
"""

from __future__ import annotations

from fractions import Fraction

from alif_kit.languages.text import comparison_tokens

# fmt: off
_BELOW_100 = [
    "صفر", "ایک", "دو", "تین", "چار", "پانچ", "چھ", "سات", "آٹھ", "نو",
    "دس", "گیارہ", "بارہ", "تیرہ", "چودہ", "پندرہ", "سولہ", "سترہ", "اٹھارہ", "انیس",
    "بیس", "اکیس", "بائیس", "تئیس", "چوبیس", "پچیس", "چھبیس", "ستائیس", "اٹھائیس", "انتیس",
    "تیس", "اکتیس", "بتیس", "تینتیس", "چونتیس", "پینتیس", "چھتیس", "سینتیس", "اڑتیس", "انتالیس",
    "چالیس", "اکتالیس", "بیالیس", "تینتالیس", "چوالیس", "پینتالیس", "چھیالیس", "سینتالیس", "اڑتالیس", "انچاس",
    "پچاس", "اکاون", "باون", "ترپن", "چون", "پچپن", "چھپن", "ستاون", "اٹھاون", "انسٹھ",
    "ساٹھ", "اکسٹھ", "باسٹھ", "تریسٹھ", "چونسٹھ", "پینسٹھ", "چھیاسٹھ", "سڑسٹھ", "اڑسٹھ", "انہتر",
    "ستر", "اکہتر", "بہتر", "تہتر", "چوہتر", "پچہتر", "چھہتر", "ستتر", "اٹھہتر", "اناسی",
    "اسی", "اکیاسی", "بیاسی", "تراسی", "چوراسی", "پچاسی", "چھیاسی", "ستاسی", "اٹھاسی", "نواسی",
    "نوے", "اکانوے", "بانوے", "ترانوے", "چورانوے", "پچانوے", "چھیانوے", "ستانوے", "اٹھانوے", "ننانوے",
]
# fmt: on
_VARIANTS = {"چھے": 6, "چھہ": 6, "تیئس": 23, "تیئیس": 23, "تینتالس": 43, "چوّن": 54, "چھیتر": 76, "پچھتر": 75}
_VARIANTS |= {"اکھتر": 71, "تریپن": 53, "پچتر": 75, "نناوے": 99}
_SCALES = {"سو": 100, "ہزار": 1000, "لاکھ": 100_000, "کروڑ": 10_000_000, "ارب": 1_000_000_000}
_WHOLE = {"ڈیڑھ": Fraction(3, 2), "ڈھائی": Fraction(5, 2), "آدھا": Fraction(1, 2), "آدھی": Fraction(1, 2), "آدھے": Fraction(1, 2)}
_WHOLE |= {"نصف": Fraction(1, 2), "پاؤ": Fraction(1, 4), "چوتھائی": Fraction(1, 4)}
_ADDED = {"سوا": Fraction(1, 4), "ساڑھے": Fraction(1, 2), "پونے": Fraction(-1, 4)}


def _key(word: str) -> str:
    """A word as `comparison_tokens` spells it."""
    return " ".join(comparison_tokens(word))


_COUNTED = {word: n for n, word in enumerate(_BELOW_100)}
_UNITS = {_key(word): Fraction(n) for word, n in (_WHOLE | _COUNTED | _VARIANTS).items()}
_SHIFTS = {_key(word): value for word, value in _ADDED.items()}
_TIMES = {_key(word): Fraction(n) for word, n in _SCALES.items()}
_MINUS = _key("منفی")
_AND = _key("اور")


def words_to_number(phrase: str) -> Fraction | None:
    """The only number that a phrase spells out, None for none or two: `words_to_number("ساڑھے تین سو روپے") == 350`."""
    runs, run = [], []
    for word in [*comparison_tokens(phrase), ""]:
        known = word in _UNITS or word in _SHIFTS or word in _TIMES or (word == _MINUS and not run)
        # "اور" joins parts only after a scale: "دو سو اور پچاس", but "دو اور تین" are two numbers.
        if known or (word == _AND and run and run[-1] in _TIMES):
            run.append(word)
        elif run:
            runs.append(run)
            run = []
    values = [value for run in runs if (value := _value(run)) is not None]
    return values[0] if len(set(values)) == 1 else None


def _value(run: list[str]) -> Fraction | None:
    """Words to a value: units times scales, added up; None when they do not fit together, as in "تین چار"."""
    total, part, shift, sign = Fraction(0), None, Fraction(0), 1
    for word in run:
        if word == _MINUS:
            sign = -1
        elif word in _SHIFTS:
            shift = _SHIFTS[word]
        elif word in _UNITS:
            if part is not None:
                return None
            part, shift = _UNITS[word] + shift, Fraction(0)
        elif word in _TIMES:
            scaled = (part if part is not None else Fraction(1) + shift) * _TIMES[word]
            total, part, shift = _add(total, scaled, _TIMES[word]), None, Fraction(0)
    if shift or (part is None and not total):
        return None
    return sign * (total + (part or 0))


def _add(total: Fraction, scaled: Fraction, scale: Fraction) -> Fraction:
    """A larger scale after a smaller one multiplies what is there: "دو سو ہزار"; otherwise parts add up."""
    return total * scale if total and total < scale and scaled == scale else total + scaled
