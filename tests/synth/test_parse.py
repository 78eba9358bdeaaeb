"""parse: what a prompt shows is what the parser accepts; every broken item has a name."""

import json

import pytest

from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.synth.parse import final_answer, parse, render, schema

QA = SeedTask("qa", "دریا کیسے بنتے ہیں؟", "پہاڑوں کی برف پگھل کر ندیوں میں ملتی ہے۔")
MOOD = SeedTask("sentiment", "جذبہ بتائیں۔", "منفی", "بس پھر دیر سے آئی۔", ("مثبت", "منفی", "غیر جانبدار", "ملا جلا"))


def tasks(answer, category, finish="stop"):
    return [(p.item, p.task, p.problem) for p in parse(answer, finish, category)]


@pytest.mark.parametrize("task", [QA, MOOD])
def test_what_is_rendered_is_read_back(task):
    assert tasks(render([task, task]), task.category) == [(1, task, ""), (2, task, "")]


def test_every_seed_goes_through_the_format_unchanged():
    for category, seeds in pack.seeds("ur").items():
        for parsed, seed in zip(parse(render(seeds), "stop", category), seeds, strict=True):
            assert parsed.task is not None, seed.instruction
            assert (parsed.task.instruction, parsed.task.input, parsed.task.output, parsed.task.labels) == (
                seed.instruction,
                seed.input,
                seed.output,
                seed.labels,
            )


def test_json_is_read_bare_and_fenced():
    row = {"instruction": QA.instruction, "input": "", "output": QA.output}
    text = json.dumps({"tasks": [row, {"instruction": "?"}]}, ensure_ascii=False)
    for answer in (text, f"```json\n{text}\n```"):
        assert tasks(answer, "qa") == [(1, QA, ""), (2, None, "malformed")]


def test_a_cut_answer_loses_only_its_last_item():
    text = render([QA, QA])
    assert tasks(text, "qa", "length") == [(1, QA, ""), (2, None, "truncated")]
    cut = json.dumps({"tasks": [{"instruction": QA.instruction, "input": "", "output": QA.output}] * 2}, ensure_ascii=False)[:-20]
    assert [(t, p) for _, t, p in tasks(cut, "qa", "length")] == [(QA, ""), (None, "truncated")]


@pytest.mark.parametrize(
    "answer",
    ["", "معذرت، میں یہ نہیں کر سکتا۔", '{"tasks": 3}', '{"items": []}', "[]", '{"tasks": [', "=== 1 ===\nبغیر نشان کے متن"],
)
def test_an_answer_without_tasks_is_one_malformed_item(answer):
    assert [(item, task, problem) for item, task, problem in tasks(answer, "qa")] == [(1, None, "malformed")]


def test_items_with_missing_or_misplaced_tags_are_malformed():
    text = render([QA]).replace("[مواد]\nخالی\n", "") + "\n" + render([QA]).replace("=== 1", "=== ۲")
    assert [(t, p) for _, t, p in tasks(text, "qa")] == [(None, "malformed"), (QA, "")]


def test_labels_belong_to_labelled_categories_only():
    assert tasks(render([MOOD]), "qa") == [(1, None, "malformed")]
    assert tasks(render([QA]), "sentiment") == [(1, None, "malformed")]


def test_numbers_at_line_starts_do_not_end_an_item():
    task = SeedTask("qa", "تین اصول لکھیں۔", "20. پہلا اصول\n3. دوسرا اصول\n### 4\nتیسرا اصول")
    assert tasks(render([task]), "qa") == [(1, task, "")]


def test_a_translations_languages_are_read_off_it():
    task = SeedTask("translation", "اس جملے کا انگریزی میں ترجمہ کریں۔", "The train is late.", "گاڑی دیر سے آئی ہے۔")
    (parsed,) = parse(render([task]), "stop", "translation")
    assert parsed.task.meta == {"asked_in": "ur", "source": "ur", "target": "en"}


def test_the_final_answer_is_the_last_lines():
    assert final_answer("استدلال:\nجواب: 4 غلط تھا\nجواب: ۵ روپے") == "۵ روپے"
    assert final_answer("جواب: 5\nمزید بات") == ""
    assert final_answer("") == ""


def test_the_schema_is_strict_and_has_labels_only_where_due():
    for category, has_labels in (("qa", False), ("sentiment", True)):
        item = schema(category)["json_schema"]["schema"]["properties"]["tasks"]["items"]
        assert ("labels" in item["properties"]) == has_labels
        assert item["required"] == list(item["properties"]) and item["additionalProperties"] is False
