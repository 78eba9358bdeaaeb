"""model: how a task or a conversation becomes text for a model, and where in it the loss is taken.

In: tasks and conversations. Out: training text and prompts, in one of two forms:
`native`  the tokenizer's own chat template (Instruct models); `alpaca`  a plain frame after Alif's, for base models, whose
chat tokens are untrained and would give NaN or endless answers.

A conversation is a list of messages, `{"role": "user", "content": …}`; a user's message may hold its material apart, as `input`,
which the Alpaca frame has a place for. The loss is taken on the answers only, on each of them: `response_markers` finds the text
that opens one. For every template the prompt of an answer is how its training text begins, and what is learnt begins right after
it. Templates that can think (Qwen3) are asked not to: an empty `<think>` block, never learnt, stands before each answer.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from alif_kit.core import UserError
from alif_kit.core.records import SeedTask

ALPACA_USER, ALPACA_INPUT, ALPACA_ANSWER = "### ہدایت:\n", "### مواد:\n", "### جواب:\n"

Message = dict[str, str]


def message_text(message: Message) -> str:
    """The whole text of a message, its material after its content: `"ترجمہ کریں:\\n\\nGood morning"`."""
    return f"{message['content']}\n\n{message['input']}" if message.get("input") else message["content"]


def conversation(task: SeedTask) -> list[Message]:
    """The task as chat messages, the answer last."""
    asked = {"role": "user", "content": task.instruction} | ({"input": task.input} if task.input else {})
    return [asked, {"role": "assistant", "content": task.output}]


def prompt_text(task: SeedTask, tokenizer: Any, chat_format: str, system: str = "") -> str:
    """Everything before the answer, special tokens included (tokenise it with add_special_tokens=False)."""
    return conversation_text(conversation(task)[:1], tokenizer, chat_format, system)


def training_text(task: SeedTask, tokenizer: Any, chat_format: str, system: str = "") -> str:
    """Prompt, answer and the token that ends it."""
    return conversation_text(conversation(task), tokenizer, chat_format, system)


def conversation_text(messages: list[Message], tokenizer: Any, chat_format: str, system: str = "") -> str:
    """A conversation of any length as text; when the user has the last word, an answer is opened after it.

    `system` is the line before it, unless the conversation brings its own. Raises UserError without a chat template.
    """
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    if chat_format == "alpaca":
        return (tokenizer.bos_token or "") + "".join(_alpaca(messages, tokenizer.eos_token))
    if not tokenizer.chat_template:
        raise UserError("the base has no chat template, but base.chat_format is native; use an Instruct model or alpaca")
    plain = [{"role": message["role"], "content": message_text(message)} for message in messages]
    if plain[0]["role"] == "system" and not takes_system(tokenizer):
        plain = [{"role": "user", "content": f"{plain[0]['content']}\n\n{plain[1]['content']}"}, *plain[2:]]
    return _apply(tokenizer, plain)


def _alpaca(messages: list[Message], eos: str) -> list[str]:
    """The frame around each message; every answer ends with EOS."""
    pieces = []
    for before, message in zip([None, *messages], messages, strict=False):
        if message["role"] == "user":
            material = f"{ALPACA_INPUT}{message['input']}\n\n" if message.get("input") else ""
            again = "\n\n" if before and before["role"] == "assistant" else ""
            pieces.append(f"{again}{ALPACA_USER}{message['content']}\n\n{material}{ALPACA_ANSWER}")
        else:
            pieces.append(message["content"] + (eos if message["role"] == "assistant" else "\n\n"))
    return pieces


DATE = date(2024, 7, 26)
"""Some templates print today's date unless they are told one: the same conversation must give the same ids tomorrow."""


def _apply(tokenizer: Any, messages: list[Message]) -> str:
    """Through the native template, with the same empty thought before each answer: templates that can think write it before the
    last answer and in the prompt, never before an earlier one, so that the prompt of that answer would not be how its text begins.
    """
    text, opening = _render(tokenizer, messages), _opening(tokenizer, thinking=True)
    thought = _opening(tokenizer, thinking=False).removeprefix(opening)
    return text.replace(opening + thought, opening).replace(opening, opening + thought) if thought else text


def _opening(tokenizer: Any, thinking: bool) -> str:
    """What stands between a user's text and the answer."""
    return _render(tokenizer, [{"role": "user", "content": "USERTEXT"}], thinking).split("USERTEXT")[1]


def _render(tokenizer: Any, messages: list[Message], thinking: bool = False) -> str:
    options = {"add_generation_prompt": messages[-1]["role"] == "user", "enable_thinking": thinking}
    options |= {"date_string": DATE.strftime("%d %b %Y"), "strftime_now": DATE.strftime}
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def takes_system(tokenizer: Any) -> bool:
    """Whether the template shows a system message alike in prompts and in training texts of one turn and of two.

    Some raise an error (Gemma 2), some drop it without a word, some show it before the last message only (Mistral-Nemo).
    """
    from jinja2.exceptions import TemplateError

    turns = [{"role": "system", "content": "SYSTEMTEXT"}, *_TURNS]
    try:
        return "SYSTEMTEXT" in _apply(tokenizer, turns[:2]) and _begins_alike(tokenizer, turns)
    except TemplateError:
        return False


def _begins_alike(tokenizer: Any, turns: list[Message]) -> bool:
    """Whether the prompt of each answer, and then the answer, is how the training text of the whole conversation begins."""
    whole = _apply(tokenizer, turns)
    prompts = [_apply(tokenizer, turns[:place]) for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    return all(whole.startswith(prompt) and whole[len(prompt) :].lstrip().startswith("ANSWERTEXT") for prompt in prompts)


def check_template(tokenizer: Any) -> None:
    """Raises UserError for a template under which a model is taught other texts than it will be asked to go on with."""
    if not _begins_alike(tokenizer, _TURNS):
        raise UserError(
            f"the base's chat template ends a prompt with {_opening(tokenizer, thinking=False)[-40:]!r}, after which its training "
            "texts do not go on with the answer; expected a template that can leave thinking out, or set base.chat_format=alpaca"
        )


_TURNS = [{"role": "user", "content": "USERTEXT"}, {"role": "assistant", "content": "ANSWERTEXT"}] * 2


def _probe(tokenizer: Any) -> str:
    """Two turns through the native template."""
    return _apply(tokenizer, _TURNS)


def response_markers(tokenizer: Any, chat_format: str) -> tuple[str, str]:
    """The texts that open the user's part and the answer, as `train_on_responses_only` wants them.

    Read off the template itself: what stands around the messages of a probe.
    """
    if chat_format == "alpaca":
        return ALPACA_USER, ALPACA_ANSWER
    text = _probe(tokenizer)
    between = text.split("ANSWERTEXT")[1].split("USERTEXT")[0]
    user = between.split("\n", 1)[-1] if "\n" in between.rstrip("\n") else between
    answer = text.split("USERTEXT")[1].split("ANSWERTEXT")[0]
    return user, answer


def answer_ends(tokenizer: Any, chat_format: str) -> set[int]:
    """Ids that end an answer: EOS, and the token by which the template closes a turn where that is another one (Gemma).

    A model tuned on the template stops with one of these, so generation has to stop there too.
    """
    ends = {tokenizer.eos_token_id}
    if chat_format == "native" and tokenizer.chat_template:
        tail = tokenizer(_probe(tokenizer).rsplit("ANSWERTEXT", 1)[1], add_special_tokens=False)["input_ids"]
        ends |= {i for i in tail[:1] if tokenizer.decode([i]) in control_texts(tokenizer, chat_format)}
    return ends


def frame_ids(tokenizer: Any, chat_format: str) -> set[int]:
    """Ids of the control tokens that the frame is made of: `<start_of_turn>` is not among Gemma's `all_special_ids`."""
    if chat_format == "alpaca" or not tokenizer.chat_template:
        return set()
    used = set(tokenizer(_probe(tokenizer), add_special_tokens=False)["input_ids"])
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special} & used


def control_texts(tokenizer: Any, chat_format: str) -> set[str]:
    """Texts that a message must not contain, because they would be read as the frame: special tokens, the frame's own heads, and
    what the template itself takes apart (Qwen3's <think>, which is not special).
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    template = str(tokenizer.chat_template) if chat_format == "native" else ""
    special = {str(token) for token in added if token.special or str(token) in template} | set(tokenizer.all_special_tokens)
    heads = {ALPACA_USER.strip(), ALPACA_ANSWER.strip()} if chat_format == "alpaca" else set()
    return {text for text in special if text.strip()} | heads
