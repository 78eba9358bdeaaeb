"""training: no token lost, loss where it should be, checks that speak, and resuming that changes nothing."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from alif_kit import config, pack
from alif_kit.chat_format import prompt_text, response_markers, training_text
from alif_kit.errors import UserError
from alif_kit.records import Document, SeedTask, write_jsonl
from alif_kit.run_folder import Run
from alif_kit.training import corpus, mixture, preflight, tiny_base, trainer

TASK = SeedTask("qa", "چاند کی روشنی کہاں سے آتی ہے؟", "سورج سے۔")


class Letters:
    """A tokenizer of one token a letter: BOS 1, EOS 2, pad 0."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0
    bos_token, eos_token, chat_template = "<s>", "</s>", None

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}


@pytest.fixture(scope="session")
def tokenizer():
    trainer.seam.prepare()
    texts = [d.text for d in pack.corpus("ur", "en", "train") + pack.corpus("ur", "ur", "train")]
    return tiny_base.train_tokenizer(texts)


def test_blocks_are_the_docstrings_example():
    a, b, c = map(ord, "abc")
    assert corpus.blocks([Document("ab"), Document("c")], Letters(), 4) == [[1, a, b, 2], [1, c, 2]]


def test_no_token_is_lost_and_every_document_ends():
    documents = pack.corpus("ur", "ur", "train")
    rows = corpus.blocks(documents, Letters(), 100)
    tokens = [t for row in rows for t in row[1:]]
    assert len(tokens) == sum(len(corpus.page_text(d)) + 1 for d in documents)
    assert tokens.count(2) == len(documents)
    assert all(row[0] == 1 and len(row) <= 100 for row in rows)


def test_a_tokenizer_without_bos_gets_none():
    class Bare(Letters):
        bos_token_id = None

    assert corpus.blocks([Document("ab")], Bare(), 2) == [[97, 98], [2]]


def test_replay_is_spread_and_has_its_share():
    rows, replay = [[0]] * 90, [[1]] * 50
    mixed = corpus.interleave(rows, replay, 0.1, seed=1)
    places = [i for i, row in enumerate(mixed) if row == [1]]
    assert len(mixed) == 100 and len(places) == 10
    assert max(b - a for a, b in zip(places, places[1:], strict=False)) <= 11
    assert corpus.interleave(rows, replay, 0.0, seed=1) == rows


def test_the_tokenizer_round_trips_urdu_and_knows_its_ends(tokenizer):
    text = "“کیا” آپ — ۱۲۳ نئے؟ hello\u200cہاں 😀"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    preflight.check_tokenizer(tokenizer)


def test_prompt_and_answer_make_the_training_text(tokenizer):
    prompt, text = prompt_text(TASK, tokenizer, "native"), training_text(TASK, tokenizer, "native")
    assert text == prompt + "سورج سے۔<|end|>\n"
    assert prompt == "<|bos|><|user|>\nچاند کی روشنی کہاں سے آتی ہے؟<|end|>\n<|assistant|>\n"
    alpaca = training_text(replace(TASK, input="متن"), Letters(), "alpaca")
    assert alpaca == "<s>### ہدایت:\nچاند کی روشنی کہاں سے آتی ہے؟\n\n### مواد:\nمتن\n\n### جواب:\nسورج سے۔</s>"


TEMPLATES = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}<|eot_id|>{% endfor %}",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "gemma": (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] }}<end_of_turn>\n{% endfor %}",
        "<start_of_turn>user\n",
        "<start_of_turn>model\n",
    ),
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}",
        "<|im_start|>user\n",
        "<|im_start|>assistant\n",
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_markers_are_read_off_the_template(tokenizer, name):
    import copy

    template, user, answer = TEMPLATES[name]
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    found_user, found_answer = response_markers(other, "native")
    assert found_user.endswith(user) and found_answer.endswith(answer)


def test_a_long_example_is_listed_not_cut(tokenizer, tmp_path):
    long = SeedTask("qa", "سوال", "لفظ " * 500)
    write_jsonl(tmp_path / "train.jsonl", [TASK, long])
    settings = config.load("smoke")
    rows, counts = mixture.finetuning_rows(settings, tokenizer, tmp_path / "train.jsonl")
    assert len(rows) == 1 and counts["too_long"] == [long.id]
    write_jsonl(tmp_path / "train.jsonl", [long])
    with pytest.raises(UserError, match="base.max_seq_length"):
        mixture.finetuning_rows(settings, tokenizer, tmp_path / "train.jsonl")


ROW = {"input_ids": [1, 5, 6, 2], "labels": [-100, -100, 6, 2]}


def test_good_rows_pass_and_say_their_share():
    assert preflight.check_rows([ROW], Letters(), ends_with_eos=True) == {"loss_share": 0.5, "longest_row": 4}


@pytest.mark.parametrize(
    "row, words",
    [
        ({"input_ids": [1, 1, 5, 2], "labels": [1, 1, 5, 2]}, "2 BOS"),
        ({"input_ids": [5, 2], "labels": [5, 2]}, "0 BOS"),
        ({"input_ids": [1, 5, 2], "labels": [-100] * 3}, "no label under the loss"),
        ({"input_ids": [1, 5, 2], "labels": [-100, 5, -100]}, "no EOS under the loss"),
    ],
)
def test_each_bad_row_has_its_message(row, words):
    with pytest.raises(UserError, match=words):
        preflight.check_rows([ROW, row], Letters(), ends_with_eos=True)


@pytest.mark.parametrize("changes", [{"eos_token_id": None}, {"pad_token_id": 2}, {"pad_token_id": None}])
def test_a_tokenizer_that_cannot_stop_is_refused(changes):
    with pytest.raises(UserError, match="EOS"):
        preflight.check_tokenizer(type("Broken", (Letters,), changes)())


def small_run(path: Path) -> Run:
    """Eight steps of pretraining, a checkpoint every three."""
    settings = {"pretrain.max_steps": 8, "pretrain.save_steps": 3, "pretrain.batch_size": 2, "pretrain.warmup_steps": 2}
    return Run.open(path, config.load("smoke", settings))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = small_run(tmp_path_factory.mktemp("whole") / "r")
    trainer.pretrain(run)
    return run


def weights(run):
    return run.file("pretrain", "adapter", "adapter_model.safetensors").read_bytes()


def stop_at(monkeypatch, step, during_save=False):
    """Make training stop dead at a step, as a kill would: in a step, or half-way through saving."""
    from transformers import Trainer

    original = Trainer._save_checkpoint if during_save else Trainer.training_step

    def stopping(self, *args, **kwargs):
        if during_save:
            (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}").mkdir(parents=True)
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, original.__name__, stopping)


@pytest.mark.parametrize("step, during_save", [(1, False), (4, False), (6, True)])
def test_stopped_and_resumed_equals_uninterrupted(uninterrupted, tmp_path, monkeypatch, step, during_save):
    run = small_run(tmp_path / "r")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, step, during_save)
        trainer.pretrain(run)
    assert not run.done("pretrain")
    trainer.pretrain(run)
    assert weights(run) == weights(uninterrupted)
    assert run.file("pretrain", "metrics.csv").read_text() == uninterrupted.file("pretrain", "metrics.csv").read_text()


def test_the_stage_leaves_its_files_and_is_not_repeated(uninterrupted):
    names = {path.name for path in uninterrupted.file("pretrain").iterdir()}
    assert {"adapter", "metrics.csv", "summary.json"} <= names and not any(n.startswith("checkpoint") for n in names)
    adapter = {path.name for path in uninterrupted.file("pretrain", "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= adapter
    before = weights(uninterrupted)
    assert trainer.pretrain(uninterrupted)["steps"] == 8
    assert weights(uninterrupted) == before and len(uninterrupted.ledger()) == 1


def test_the_embeddings_have_their_own_learning_rate(tmp_path):
    settings = config.load("smoke", {"pretrain.embedding_learning_rate": 1e-4})
    loaded = trainer.load_base(settings)
    trainer.seam.attach(loaded, settings)
    made = trainer._trainer(settings, settings.pretrain, loaded, [[1, 5, 2]], tmp_path)
    made.create_optimizer()
    rates = {group["lr"] for group in made.optimizer.param_groups}
    assert rates == {2e-3, 1e-4}
    assert preflight.check_trainable(loaded.model, "full")["trained_vocabulary_matrices"] == 2
    with pytest.raises(UserError, match="lora.train_vocab is none"):
        preflight.check_trainable(loaded.model, "none")


def test_metrics_have_every_step(uninterrupted):
    rows = list(csv.DictReader(uninterrupted.file("pretrain", "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 9))
    assert float(rows[1]["learning_rate"]) > 0
