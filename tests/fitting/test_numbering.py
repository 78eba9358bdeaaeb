"""fitting: ids and names of tokens wherever a checkpoint's files hold them."""

import json

import pytest

from alif_kit.fitting import numbering

NEW = {1: 0, 2: 1, 106: 2, 50: 3}
LLAMA3, QWEN = "<|reserved_special_token_7|>", "<|vision_pad|>"


@pytest.mark.parametrize(
    "before, after",
    [
        ({"eos_token_id": [1, 106], "pad_token_id": 2}, {"eos_token_id": [0, 2], "pad_token_id": 1}),
        ({"bos_token_id": None, "pad_token_id": -1}, {"bos_token_id": None, "pad_token_id": None}),
        ({"suppress_tokens": [1, 9], "bad_words_ids": [[1, 2], [9]]}, {"suppress_tokens": [0], "bad_words_ids": [[0, 1]]}),
        ({"image_token_index": 50, "audio_token_id": 106}, {"image_token_index": 3, "audio_token_id": 2}),
        ({"text_config": {"vocab_size": 300, "eos_token_id": 1}}, {"text_config": {"vocab_size": 64, "eos_token_id": 0}}),
        (
            {"audio_config": {"vocab_size": 128}, "num_image_tokens": 1},
            {"audio_config": {"vocab_size": 128}, "num_image_tokens": 1},
        ),
        ({"max_new_tokens": 2, "hidden_size": 50, "mm_tokens_per_image": 106}, None),
    ],
)
def test_configurations_get_the_new_ids_and_the_new_size(before, after):
    assert numbering.renumbered(before, NEW, (300, 64)) == (before if after is None else after)


def test_settings_lose_the_tokens_that_are_gone():
    said = {
        "additional_special_tokens": ["<a>", LLAMA3, {"content": LLAMA3}],
        "extra_special_tokens": {"image_token": "<a>"},
        "added_tokens_decoder": {"50": {"content": "<a>"}, "7": {"content": LLAMA3}},
        "pad_token_id": 106,
    }
    assert numbering.settings(said, NEW, {LLAMA3}) == {
        "additional_special_tokens": ["<a>"],
        "extra_special_tokens": {"image_token": "<a>"},
        "added_tokens_decoder": {"3": {"content": "<a>"}},
        "pad_token_id": 2,
    }


def test_what_stands_around_a_text_gets_the_new_ids():
    template = {"special_tokens": {"<s>": {"id": "<s>", "ids": [9], "tokens": ["<s>"]}}}
    robust = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 9], "trim_offsets": True}
    made = numbering.around({"processors": [template, robust]}, {"<s>": 3, "</s>": 4})
    assert made["processors"][0]["special_tokens"]["<s>"]["ids"] == [3]
    assert made["processors"][1] == robust | {"sep": ["</s>", 4], "cls": ["<s>", 3]}
    assert numbering.around(None, {}) is None


def test_tokens_that_the_files_name_are_found(tmp_path):
    said = {
        "config.json": {"eos_token_id": [1, 2], "vision_config": {"image_token_id": 3}, "vocab_size": 9},
        "generation_config.json": {"pad_token_id": 4, "suppress_tokens": [5]},
        "processor_config.json": {"audio_token_id": 6},
        "tokenizer_config.json": {
            "pad_token": LLAMA3,
            "additional_special_tokens": ["<x1>"],
            "added_tokens_decoder": {"0": "<x2>"},
        },
        "tokenizer.json": {"post_processor": {"tokens": ["<x3>"]}, "padding": {"pad_token": "<x4>"}},
    }
    for name, of in said.items():
        (tmp_path / name).write_text(json.dumps(of))
    (tmp_path / "chat_template.jinja").write_text("{% if tools %}<x5>{% endif %}")
    found = numbering.named(tmp_path, [LLAMA3, *(f"<x{n}>" for n in range(1, 8))])
    assert found == ({1, 2, 3, 4, 5, 6}, {LLAMA3, "<x3>", "<x4>", "<x5>"})
