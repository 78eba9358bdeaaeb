"""The real chat templates and tokenizers of five families: prompts, training texts, what is learnt, and the same ids tomorrow."""

import pytest
from real_tokenizers import real_tokenizer

from alif_kit.corpus.blocks import document_end
from alif_kit.model import chat_format
from alif_kit.model.chat_format import answer_ends, conversation_text, frame_ids, response_markers
from alif_kit.training.vocabulary import rows_in_use

NAMES = ("gemma3", "qwen3", "llama3_1", "llama3_2", "mistral_nemo")
SYSTEM = "مختصر جواب دیں۔"
ENDS = {
    "gemma3": "<end_of_turn>",
    "qwen3": "<|im_end|>",
    "mistral_nemo": "</s>",
    "llama3_1": "<|eot_id|>",
    "llama3_2": "<|eot_id|>",
}


def turns(*texts):
    return [{"role": "user" if place % 2 == 0 else "assistant", "content": text} for place, text in enumerate(texts)]


CONVERSATIONS = [
    turns("سلام", "وعلیکم السلام!"),
    turns("What is 12 × 12?", "144"),
    turns("ایک شعر لکھیں۔", "دو سطریں:\n\nپہلی\nدوسری", "اور ایک؟", "تیسری"),
    turns("پہلا", "1", "دوسرا", "2", "تیسرا", "3"),
    turns("کوڈ لکھیں", "```python\nprint('سلام')\n```"),
    turns("😀", "🙂"),
]


@pytest.fixture(scope="module", params=NAMES)
def named(request):
    pytest.importorskip("transformers")
    from alif_kit.model import unsloth as seam

    seam.prepare()
    from transformers import AutoTokenizer

    return request.param, AutoTokenizer.from_pretrained(real_tokenizer(request.param))


@pytest.mark.parametrize("system", ["", SYSTEM])
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_every_prompt_is_how_its_training_text_begins_in_ids_too(named, messages, system):
    _, tokenizer = named
    whole = conversation_text(messages, tokenizer, "native", system)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert (system in whole) and whole.count(SYSTEM) == bool(system)
    for place in range(1, len(messages), 2):
        prompt = conversation_text(messages[:place], tokenizer, "native", system)
        assert whole.startswith(prompt + messages[place]["content"])
        begun = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert ids[: len(begun)] == begun


@pytest.mark.parametrize("system", ["", SYSTEM])
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_what_is_learnt_is_each_answer_and_its_end(named, messages, system):
    from alif_kit.model import unsloth as seam

    name, tokenizer = named
    ids = tokenizer(conversation_text(messages, tokenizer, "native", system), add_special_tokens=False)["input_ids"]
    labels = seam.labels_of(ids, tokenizer, *response_markers(tokenizer, "native"))
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    learnt = "".join(tokenizer.decode([label for label in labels if label != -100])).replace("\n", "")
    assert learnt == "".join(answer + ENDS[name] for answer in answers).replace("\n", "")
    assert {tokenizer.convert_tokens_to_ids(ENDS[name])} <= answer_ends(tokenizer, "native")


def test_the_same_text_on_another_day(named, monkeypatch):
    import datetime

    from transformers.utils import chat_template_utils

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 4, tzinfo=tz)

    _, tokenizer = named
    today = conversation_text(CONVERSATIONS[0], tokenizer, "native")
    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    assert conversation_text(CONVERSATIONS[0], tokenizer, "native") == today


def test_the_rows_of_the_frame_are_trained_and_none_beyond_the_matrix(named):
    name, tokenizer = named
    size = {"gemma3": 262144}.get(name, len(tokenizer))
    frame = frame_ids(tokenizer, "native")
    assert tokenizer.convert_tokens_to_ids(ENDS[name]) in frame
    rows = rows_in_use(tokenizer, ["سلام"], 1.0, frame, size)
    assert set(rows) >= frame and max(rows) < size
    if name == "gemma3":
        assert frame == {2, 105, 106} and max(tokenizer.all_special_ids) == size


def test_which_templates_show_a_system_line(named):
    name, tokenizer = named
    assert chat_format.takes_system(tokenizer) is (name != "mistral_nemo")


DOCUMENT_ENDS = {
    "gemma3": "<eos>",
    "qwen3": "<|endoftext|>",
    "mistral_nemo": "</s>",
    "llama3_1": "<|end_of_text|>",
    "llama3_2": "<|end_of_text|>",
}


def test_a_document_ends_as_in_pretraining_and_not_as_a_turn_does(named):
    name, tokenizer = named
    assert tokenizer.convert_ids_to_tokens(document_end(tokenizer)) == DOCUMENT_ENDS[name]


PADS = {
    "gemma3": "<pad>",
    "qwen3": "<|endoftext|>",
    "mistral_nemo": "<pad>",
    "llama3_1": "<|reserved_special_token_250|>",
    "llama3_2": "<|finetune_right_pad_id|>",
}


def test_a_pad_token_is_found_that_ends_nothing(named):
    """On a CPU too, where Unsloth's loader leaves the tokenizer as it is."""
    from types import SimpleNamespace

    from alif_kit.model import unsloth as seam

    name, tokenizer = named
    seam._with_pad(SimpleNamespace(config=SimpleNamespace(vocab_size=len(tokenizer), update=dict)), tokenizer)
    assert tokenizer.pad_token == PADS[name] and tokenizer.pad_token_id != tokenizer.eos_token_id
