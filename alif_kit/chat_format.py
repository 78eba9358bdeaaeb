"""First floor: how a task or a page becomes text for a model, and where in it the loss is taken.

In: tasks, conversations, documents. Out: training text and prompts, in one of two forms:
`native`  the tokenizer's own chat template (Instruct models); `alpaca`  a plain frame after Alif's, for base models, whose
chat tokens are untrained and would give NaN or endless answers.

The loss is taken on responses only: `RESPONSE_OF` finds the marker that opens a response in either form.
"""

from __future__ import annotations

from typing import Any

from alif_kit.errors import UserError
from alif_kit.records import SeedTask

ALPACA_TASK = "### ہدایت:\n{instruction}\n\n### مواد:\n{input}\n\n### جواب:\n"
ALPACA_TASK_WITHOUT_INPUT = "### ہدایت:\n{instruction}\n\n### جواب:\n"


def user_message(task: SeedTask) -> str:
    """Instruction and input as one message: `"ترجمہ کریں:\\n\\nGood morning"`."""
    return f"{task.instruction}\n\n{task.input}" if task.input else task.instruction


def conversation(task: SeedTask) -> list[dict[str, str]]:
    """The task as chat messages, the answer last."""
    return [{"role": "user", "content": user_message(task)}, {"role": "assistant", "content": task.output}]


def prompt_text(task: SeedTask, tokenizer: Any, chat_format: str) -> str:
    """Everything before the answer, special tokens included (tokenise it with add_special_tokens=False)."""
    if chat_format == "alpaca":
        frame = ALPACA_TASK if task.input else ALPACA_TASK_WITHOUT_INPUT
        return (tokenizer.bos_token or "") + frame.format(instruction=task.instruction, input=task.input)
    if not tokenizer.chat_template:
        raise UserError("the base has no chat template, but base.chat_format is native; use an Instruct model or alpaca")
    return tokenizer.apply_chat_template(conversation(task)[:1], tokenize=False, add_generation_prompt=True)


def training_text(task: SeedTask, tokenizer: Any, chat_format: str) -> str:
    """Prompt, answer and the token that ends it."""
    if chat_format == "alpaca":
        return prompt_text(task, tokenizer, chat_format) + task.output + tokenizer.eos_token
    return tokenizer.apply_chat_template(conversation(task), tokenize=False)


def response_markers(tokenizer: Any, chat_format: str) -> tuple[str, str]:
    """The texts that open the user's part and the answer, as `train_on_responses_only` wants them.

    Read off the template itself: what stands around two probe messages.
    """
    if chat_format == "alpaca":
        return "### ہدایت:\n", "### جواب:\n"
    probe = [{"role": "user", "content": "USERTEXT"}, {"role": "assistant", "content": "ANSWERTEXT"}]
    text = tokenizer.apply_chat_template(probe * 2, tokenize=False)
    between = text.split("ANSWERTEXT")[1].split("USERTEXT")[0]
    user = between.split("\n", 1)[-1] if "\n" in between.rstrip("\n") else between
    answer = text.split("USERTEXT")[1].split("ANSWERTEXT")[0]
    return user, answer
