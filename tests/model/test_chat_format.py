"""chat_format: one text for training, its beginning for the prompt, and the loss on every answer and nothing else."""

import copy
from dataclasses import replace
from functools import lru_cache

import pytest
from letters import Letters

from alif_kit.core.errors import UserError
from alif_kit.core.records import SeedTask
from alif_kit.languages import pack
from alif_kit.model import chat_format, tiny_base, unsloth
from alif_kit.model.chat_format import answer_ends, control_texts, conversation_text, prompt_text, response_markers, training_text
from alif_kit.training import preflight, show

TASK = SeedTask("qa", "چاند کی روشنی کہاں سے آتی ہے؟", "سورج سے۔")
TURNS = [
    {"role": "user", "content": "ترجمہ کریں", "input": "Good morning"},
    {"role": "assistant", "content": "صبح بخیر"},
    {"role": "user", "content": "اور شام؟"},
    {"role": "assistant", "content": "شام بخیر"},
]

# name: template, special tokens, EOS, the user's marker, the answer's marker
TEMPLATES = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    # Gemma 2: refuses a system message, and a turn ends with another token than EOS.
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
        "<|end|>",
        "<start_of_turn>user\n",
        "<start_of_turn>model\n",
    ),
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|im_start|>assistant\n",
    ),
    # Qwen 3: the last answer, and a prompt that shall not think, open with an empty thought.
    "qwen3": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if loop.last and m['role'] == 'assistant' %}<think>\n\n</think>\n\n"
        "{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
}


@lru_cache
def tiny_tokenizer():
    """The tokenizer of the `tiny` base."""
    unsloth.prepare()
    return tiny_base.train_tokenizer([d.text for d in pack.corpus("ur", "en", "train") + pack.corpus("ur", "ur", "train")])


def tokenizer_like(name):
    """The tiny tokenizer with another family's template and special tokens."""
    template, special, eos, _, _ = TEMPLATES[name]
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template, tokenizer.eos_token = template, eos
    return tokenizer


def learnt(messages, tokenizer, frame, system=""):
    """The texts under the loss, as Unsloth masks them with our markers."""
    from unsloth.chat_templates import train_on_responses_only

    ids = tokenizer(conversation_text(messages, tokenizer, frame, system), add_special_tokens=False)["input_ids"]
    mask = train_on_responses_only(None, *response_markers(tokenizer, frame), tokenizer=tokenizer, return_function=True)
    labels = mask({"input_ids": [ids], "labels": [ids]})["labels"][0]
    return [text for text, kept in show.masked_example(ids, labels, tokenizer) if kept]


def test_prompt_and_answer_make_the_training_text():
    tokenizer = tiny_tokenizer()
    prompt, text = prompt_text(TASK, tokenizer, "native"), training_text(TASK, tokenizer, "native")
    assert text == prompt + "سورج سے۔<|end|>\n"
    assert prompt == "<|bos|><|user|>\nچاند کی روشنی کہاں سے آتی ہے؟<|end|>\n<|assistant|>\n"
    alpaca = training_text(replace(TASK, input="متن"), Letters(), "alpaca")
    assert alpaca == "<s>### ہدایت:\nچاند کی روشنی کہاں سے آتی ہے؟\n\n### مواد:\nمتن\n\n### جواب:\nسورج سے۔</s>"


def test_the_alpaca_frame_holds_several_turns():
    assert conversation_text(TURNS, Letters(), "alpaca", "نرمی سے بات کریں۔") == (
        "<s>نرمی سے بات کریں۔\n\n### ہدایت:\nترجمہ کریں\n\n### مواد:\nGood morning\n\n### جواب:\nصبح بخیر</s>"
        "\n\n### ہدایت:\nاور شام؟\n\n### جواب:\nشام بخیر</s>"
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_how_its_training_text_begins(name):
    tokenizer = tokenizer_like(name)
    prompt = prompt_text(TASK, tokenizer, "native", "مختصر جواب دیں۔")
    assert training_text(TASK, tokenizer, "native", "مختصر جواب دیں۔").startswith(prompt + "سورج سے۔")


@pytest.mark.parametrize("name", TEMPLATES)
def test_markers_are_read_off_the_template(name):
    *_, user, answer = TEMPLATES[name]
    found_user, found_answer = response_markers(tokenizer_like(name), "native")
    assert found_user.endswith(user) and found_answer.endswith(answer)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("llama", ["صبح بخیر<|eot_id|>", "شام بخیر<|eot_id|>"]),
        ("gemma", ["صبح بخیر<end_of_turn>\n", "شام بخیر<end_of_turn>\n"]),
        ("chatml", ["صبح بخیر<|im_end|>", "شام بخیر<|im_end|>"]),
        ("qwen3", ["صبح بخیر<|im_end|>", "شام بخیر<|im_end|>"]),
    ],
)
def test_the_loss_is_on_every_answer_and_its_end(name, expected):
    assert learnt(TURNS, tokenizer_like(name), "native") == expected
    assert learnt(TURNS, tokenizer_like(name), "native", "نرمی سے بات کریں۔") == expected


def test_the_loss_is_on_every_answer_of_the_tiny_base_in_both_frames():
    expected = ["صبح بخیر<|end|>", "شام بخیر<|end|>"]
    assert learnt(TURNS, tiny_tokenizer(), "native") == expected
    assert learnt(TURNS, tiny_tokenizer(), "alpaca") == expected


def test_a_template_that_takes_no_system_gets_it_in_the_first_message():
    chatml, gemma = tokenizer_like("chatml"), tokenizer_like("gemma")
    assert prompt_text(TASK, chatml, "native", "مختصر۔").startswith("<|im_start|>system\nمختصر۔<|im_end|>\n<|im_start|>user\nچاند")
    assert prompt_text(TASK, gemma, "native", "مختصر۔").startswith("<|bos|><start_of_turn>user\nمختصر۔\n\nچاند")
    silent = tokenizer_like("chatml")
    silent.chat_template = "{% for m in messages if m['role'] != 'system' %}[{{ m['content'] }}]{% endfor %}"
    assert [chat_format.takes_system(t) for t in (chatml, gemma, silent)] == [True, False, False]
    assert prompt_text(TASK, silent, "native", "مختصر۔") == "[مختصر۔\n\nچاند کی روشنی کہاں سے آتی ہے؟]"


def test_a_row_with_its_own_system_line_keeps_it():
    own = [{"role": "system", "content": "A"}, *TURNS[:2]]
    assert conversation_text(own, Letters(), "alpaca", "B") == conversation_text(TURNS[:2], Letters(), "alpaca", "A")


def test_an_answer_may_end_with_the_template_s_own_token():
    gemma, chatml = tokenizer_like("gemma"), tokenizer_like("chatml")
    assert {gemma.decode([i]) for i in answer_ends(gemma, "native")} == {"<|end|>", "<end_of_turn>"}
    assert answer_ends(gemma, "alpaca") == {gemma.eos_token_id}
    assert answer_ends(chatml, "native") == {chatml.eos_token_id}


def test_the_texts_of_the_frame_are_known():
    assert control_texts(Letters(), "native") == {"<s>", "</s>"}
    assert control_texts(Letters(), "alpaca") == {"<s>", "</s>", "### ہدایت:", "### جواب:"}
    assert {"<|im_end|>", "<|end|>", "<|pad|>"} <= control_texts(tokenizer_like("chatml"), "native")


def test_texts_that_the_template_takes_apart_are_the_frame_s_too():
    qwen = tokenizer_like("qwen3")
    qwen.add_tokens(["<think>", "</think>", "<table>"])
    assert {"<think>", "</think>"} <= control_texts(qwen, "native") and "<table>" not in control_texts(qwen, "native")
    assert "<think>" not in control_texts(qwen, "alpaca")


THINKS = "<think>\n{% endif %}"


def test_a_template_that_always_thinks_is_refused():
    always = tokenizer_like("chatml")
    always.chat_template = always.chat_template.replace("assistant\n{% endif %}", f"assistant\n{THINKS}")
    with pytest.raises(UserError, match=r"ends a prompt with .*<think>\\n', after which its training texts do not go on"):
        preflight.check_frame(always, "native")
    preflight.check_frame(always, "alpaca")
    for name in TEMPLATES:
        preflight.check_frame(tokenizer_like(name), "native")


def test_a_template_that_asks_for_the_date_gets_the_same_one_every_day():
    dated = tokenizer_like("chatml")
    dated.chat_template = "{{ strftime_now('%d %B %Y') }} {{ date_string }}\n" + dated.chat_template
    assert prompt_text(TASK, dated, "native").startswith("26 July 2024 26 Jul 2024\n")


def test_a_base_without_a_template_is_refused():
    with pytest.raises(UserError, match="base.chat_format is native"):
        prompt_text(TASK, Letters(), "native")
