"""filters: one text per reason, and no reason for any seed."""

import pytest

from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.synth import filters

GOOD = {
    "generation": SeedTask(
        "generation",
        "بارش پر ایک مختصر پیراگراف لکھیں۔",
        "شام ڈھلے بادل گھر آئے اور دیکھتے ہی دیکھتے بارش شروع ہو گئی۔ گلی کے بچے ہنستے ہوئے باہر نکل آئے اور مٹی کی خوشبو ہر طرف پھیل گئی۔",
    ),
    "reasoning": SeedTask(
        "reasoning",
        "ایک کلو سیب 250 روپے کا ہے تو تین کلو کتنے کے ہوں گے؟",
        "استدلال:\nایک کلو کی قیمت 250 روپے ہے۔\nتین کلو کی قیمت 3 × 250 = 750 روپے ہوئی۔\nجواب: 750 روپے",
    ),
    "ethics": SeedTask(
        "ethics",
        "دوست امتحان میں نقل کرنے کو کہتا ہے، کیا کروں؟",
        "نقل میں ساتھ دینا درست نہیں، اس سے دونوں کا نقصان ہے۔ دوست کو نرمی سے بتائیں کہ آپ مل کر تیاری کر سکتے ہیں، اور استاد سے مشکل سبق دوبارہ سمجھ لیں۔",
    ),
    "qa": SeedTask(
        "qa",
        "چاند کی اپنی روشنی کیوں نہیں ہوتی؟",
        "چاند سورج کی روشنی منعکس کرتا ہے، اس کے اندر روشنی پیدا کرنے والا کوئی عمل نہیں ہوتا۔",
    ),
    "translation": SeedTask(
        "translation",
        "اس جملے کا اردو میں ترجمہ کریں۔",
        "ہسپتال جانے والی سڑک آج بند ہے۔",
        "The road to the hospital is closed today.",
        (),
        {"asked_in": "ur", "source": "en", "target": "ur"},
    ),
    "classification": SeedTask(
        "classification", "خبر کا موضوع بتائیں: کھیل، تجارت", "کھیل", "قومی ٹیم نے آخری اوور میں میچ جیت لیا۔", ("کھیل", "تجارت")
    ),
    "sentiment": SeedTask(
        "sentiment",
        "اس رائے کا جذبہ چار میں سے ایک لفظ میں بتائیں۔",
        "منفی",
        "کھانا ٹھنڈا تھا اور عملہ بدتمیز نکلا۔",
        ("مثبت", "منفی", "غیر جانبدار", "ملا جلا"),
    ),
}


def changed(category, **changes):
    good = GOOD[category]
    values = {name: getattr(good, name) for name in ("category", "instruction", "output", "input", "labels", "meta")}
    return SeedTask(**{**values, **changes})


@pytest.mark.parametrize("category", GOOD)
def test_a_good_task_has_no_reason(category):
    assert filters.first_reason(GOOD[category]) == ""


def test_no_seed_of_the_pack_is_dropped():
    dropped = [(s.category, filters.first_reason(s), s.instruction) for seeds in pack.seeds("ur").values() for s in seeds]
    assert [row for row in dropped if row[1]] == []


CASES = [
    ("too_short", "generation", {"output": "بارش ہو رہی ہے۔"}),
    ("too_long", "classification", {"output": "یہ خبر کھیل کے بارے میں ہے کیونکہ اس میں میچ کا ذکر"}),
    ("prompt_leak", "qa", {"output": "چاند کی روشنی سورج سے آتی ہے۔\n[جواب]\nیہ ہے"}),
    ("label_not_in_set", "classification", {"output": "سیاست"}),
    ("bad_labels", "classification", {"labels": ("کھیل", "کھیل")}),
    ("bad_labels", "sentiment", {"labels": ("مثبت", "منفی")}),
    ("no_payload", "translation", {"input": ""}),
    (
        "same_language",
        "translation",
        {"input": "ہسپتال کا راستہ بند ہے۔", "meta": {"asked_in": "ur", "source": "ur", "target": "ur"}},
    ),
    ("wrong_language", "qa", {"output": "The moon reflects the light of the sun and has none of its own."}),
    ("wrong_language", "qa", {"output": "ماه نور خود را از خورشید می‌گیرد و این نور را به زمین باز می‌تاباند و از خود نوری ندارد."}),
    ("wrong_language", "translation", {"output": "الطريق إلى المستشفى مغلق اليوم بسبب الأعمال في وسط المدينة"}),
    ("no_final_answer", "reasoning", {"output": "استدلال:\nایک کلو کی قیمت 250 روپے ہے، اس لیے تین کلو 750 کے ہوں گے۔"}),
    ("wrong_arithmetic", "reasoning", {"output": GOOD["reasoning"].output.replace("750", "760")}),
    ("wrong_arithmetic", "reasoning", {"output": GOOD["reasoning"].output.replace("3 × 250 = 750", "۳ × ۲۵۰ = ۶۵۰")}),
    ("inconsistent_answer", "reasoning", {"output": GOOD["reasoning"].output.replace("جواب: 750", "جواب: 760")}),
    ("inconsistent_answer", "reasoning", {"output": GOOD["reasoning"].output.replace("جواب", "جواب: 700 روپے\nجواب")}),
    ("copies_input", "classification", {"output": "کھیل", "input": "کھیل"}),
    ("refusal", "qa", {"output": "میں معذرت خواہ ہوں، میں اس سوال کا جواب نہیں جانتا۔"}),
    ("asks_for_media", "qa", {"instruction": "چاند کی ایک خوبصورت تصویر بنائیں۔"}),
    ("contact_data", "qa", {"output": "مزید جاننے کے لیے https://example.org دیکھیں یا سوال کریں۔"}),
    ("contact_data", "qa", {"output": "اس بارے میں ۰۳۰۰-۱۲۳۴۵۶۷ پر بات کر لیں، وہ بتا دیں گے۔"}),
    ("repetition", "qa", {"output": "چاند بہت خوبصورت اور روشن ہے۔ " * 8}),
]


@pytest.mark.parametrize("reason, category, changes", CASES)
def test_each_fault_has_its_reason(reason, category, changes):
    assert filters.first_reason(changed(category, **changes)) == reason


@pytest.mark.parametrize(
    "text",
    [
        "دادی کی ایک پرانی تصویر دیکھ لی ہے، اس پر کہانی سنانے کا طریقہ بتائیں۔",
        "بیٹی کو اسکول بھیجنا کیوں ضروری ہے؟",
        "“انصاف” کا مطلب کیا ہے؟",
    ],
)
def test_ordinary_words_are_not_banned(text):
    assert filters.first_reason(changed("qa", instruction=text)) == ""


@pytest.mark.parametrize(
    "line, reason",
    [
        ("7 ÷ 2 = 3.5", ""),
        ("100 ÷ 3 = 33.33", ""),
        ("100 ÷ 3 = 34", "wrong_arithmetic"),
        ("2 + 3 × 4 = 14", ""),
        ("2 + 3 × 4 = 20", "wrong_arithmetic"),
        ("1,250 − 250 = 1,000", ""),
        ("۱٬۲۵۰ + ۵۰ = ۱٬۳۰۰", ""),
        ("رقبہ = لمبائی × چوڑائی", ""),
        ("(3 + 4) × 2 = 14", ""),
        ("(3 + 4) × 2 = 11", "wrong_arithmetic"),
        ("(2 + 3) + 4 × 2 = 13", ""),
        ("1. 3 × 4 = 12", ""),
        ("2) 3 × 4 = 13", "wrong_arithmetic"),
        ("5 - 8 = -3", ""),
        ("کل 5 دن، 3 × 4 = 12", ""),
        ("3 × 4 = 2 × 6", ""),
        ("((((( 3 + = 4", ""),
        ("9 ÷ 0 = 0", ""),
        ("۲٫۵ × ۴ = ۱۰", ""),
        ("۲٫۵ × ۴ = ۱۱", "wrong_arithmetic"),
    ],
)
def test_arithmetic_is_worked_out(line, reason):
    assert filters.arithmetic(changed("reasoning", output=f"استدلال:\n{line}\nجواب: 1")) == reason
