"""training sessions: they end by time or signal with a checkpoint, go on elsewhere, and nothing shows in the result."""

import csv
import math
import os
import signal
import threading
import time
from contextlib import nullcontext

import pytest

from alif_kit.core import config
from alif_kit.core.errors import StoppedError
from alif_kit.core.run import Run
from alif_kit.training import callback, order, trainer, vocabulary

STEPS = {"pretrain.max_steps": 8, "pretrain.save_steps": 3, "pretrain.batch_size": 2, "pretrain.warmup_steps": 2}


def small(path, **changes):
    return Run.open(path, config.load("smoke", {**STEPS, **changes}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = small(tmp_path_factory.mktemp("whole") / "r")
    trainer.pretrain(run)
    return run


def result(run):
    return run.file("pretrain/adapter/adapter_model.safetensors").read_bytes(), run.file("pretrain/metrics.csv").read_text()


def test_a_session_that_is_over_ends_with_a_checkpoint_and_goes_on(whole, tmp_path):
    run = small(tmp_path / "r", **{"session.hours": 1e-9})
    stops = 0
    while not run.done("pretrain") and stops < 20:
        try:
            trainer.pretrain(run)
        except StoppedError as stop:
            assert "session.hours" in str(stop) and "run again to go on" in str(stop)
            stops += 1
            if stops == 3:
                run = small(tmp_path / "r")  # a session without an end
    assert stops == 3 and result(run) == result(whole)


def test_sigterm_saves_and_stops(whole, tmp_path, monkeypatch):
    run = small(tmp_path / "r")
    real = callback.Watch.step_done

    def step_done(self):
        real(self)
        if len(self.steps) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(StoppedError, match="stopped at step 5 of 8: SIGTERM received"):
        patch.setattr(callback.Watch, "step_done", step_done)
        trainer.pretrain(run)
    assert trainer.last_checkpoint(run.file("pretrain")).name in ("checkpoint-5", "checkpoint-6")
    trainer.pretrain(run)
    assert result(run) == result(whole)


def test_it_goes_on_on_another_machine(whole, tmp_path):
    mirrored = {"session.mirror": str(tmp_path / "drive"), "session.hours": 1e-9}
    with pytest.raises(StoppedError):
        trainer.pretrain(small(tmp_path / "colab" / "r", **mirrored))
    other = small(tmp_path / "kaggle" / "r", **{"session.mirror": str(tmp_path / "drive")})
    trainer.pretrain(other)
    assert result(other) == result(whole)
    assert (tmp_path / "drive/r/pretrain/adapter/adapter_model.safetensors").is_file()


def watch(tmp_path, **changes):
    made = callback.Watch(small(tmp_path / "r", **changes), "pretrain")
    made.tokens_per_step = 100.0
    return made


def test_a_step_and_a_save_must_still_fit(tmp_path):
    with_time = watch(tmp_path, **{"session.hours": 1000.0})
    with_time.step_done()
    assert with_time.reason == ""
    with_time.saving = 3600 * 1000
    with_time.step_done()
    assert "session.hours = 1000 are over" in with_time.reason


def test_speed_leaves_out_the_first_step_of_a_session(tmp_path):
    measured = watch(tmp_path)
    measured.steps = [9.0, 2.0, 3.0]
    assert measured.tokens_per_second() == 40.0


def test_signals_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with watch(tmp_path).signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    outcome = []
    other = threading.Thread(target=lambda: outcome.append(watch(tmp_path).signals().__enter__()))
    other.start()
    other.join()
    assert outcome == [None]  # in a thread there is nothing to catch, and no error


@pytest.mark.parametrize(
    "logs, step, settling, bad",
    [
        ({"loss": 2.0, "grad_norm": 1.0}, 1, 0, ""),
        ({"loss": 2.0, "grad_norm": math.nan}, 3, 5, ""),
        ({"loss": 2.0, "grad_norm": math.nan}, 6, 5, "grad_norm is nan at step 6"),
        ({"loss": 2.0, "grad_norm": math.inf}, 1, 0, "grad_norm is inf at step 1"),
        ({"loss": math.nan, "grad_norm": 1.0}, 2, 5, "loss is nan at step 2"),
    ],
)
def test_what_is_no_number_stops_past_the_settling_steps(tmp_path, logs, step, settling, bad):
    with pytest.raises(StoppedError, match=bad) if bad else nullcontext():
        callback.refuse_no_number(logs, step, settling, tmp_path)


def test_out_of_memory_says_what_would_fit(tmp_path, monkeypatch):
    import torch
    from transformers import Trainer

    def training_step(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "training_step", training_step)
    with pytest.raises(StoppedError, match=r"out of memory.*pretrain.batch_size=1 and pretrain.gradient_accumulation=2"):
        trainer.pretrain(small(tmp_path / "r"))


def test_rows_of_a_batch_are_of_like_length_and_none_is_lost():
    lengths = [1, 9, 2, 8, 3, 7, 4, 6, 5]
    places = order.by_length(lengths, 2, "seed")
    assert sorted(places) == list(range(9))
    assert places == order.by_length(lengths, 2, "seed") != order.by_length(lengths, 2, "other")
    pairs = [sorted((lengths[a], lengths[b])) for a, b in zip(places[:8:2], places[1:8:2], strict=True)]
    assert all(b - a == 1 for a, b in pairs)


def test_each_epoch_has_its_own_order():
    opt = config.load("smoke", {"pretrain.epochs": 2, "pretrain.batch_size": 1}).pretrain
    data = order.in_order(order.as_data([[i] for i in range(12)]), opt, seed=1)
    first, second = data["input_ids"][:12], data["input_ids"][12:]
    assert sorted(first) == sorted(second) and first != second


class Letters:
    all_special_ids = [0]

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}


@pytest.mark.parametrize("coverage, letters", [(0.75, "a"), (0.76, "ab"), (1.0, "ab")])
def test_rows_in_use_are_the_docstrings_example(coverage, letters):
    assert vocabulary.rows_in_use(Letters(), ["aa", "ab"], coverage) == [0, *map(ord, letters)]


def test_the_held_out_loss_stands_in_its_step(tmp_path):
    history = [{"step": 1, "loss": 3.0}, {"step": 1, "eval_loss": 4.0}, {"step": 2, "loss": 2.0}]
    callback.write_metrics(tmp_path, history)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(r["step"], r["loss"], r["eval_loss"]) for r in rows] == [("1", "3.0", "4.0"), ("2", "2.0", "")]


def test_the_session_began_before_now():
    assert 0 < time.time() - callback.session_start() < 24 * 3600


def test_the_first_example_is_shown_with_what_is_learnt(capsys):
    from alif_kit.training import show

    class Words:
        def decode(self, ids, skip_special_tokens=True):
            return " ".join({1: "سوال", 2: "جواب"}[i] for i in ids)

    source = {"rows": 3, "rows_used": 2, "tokens": 40, "share": 1.0}
    show.first_example({"input_ids": [1, 2], "labels": [-100, 2]}, Words(), "finetune", {"sources": {"own": source}})
    said = capsys.readouterr().err
    assert "own: 2 of 3 rows, 40 tokens, 100.0%" in said and "سوال جواب" in said and "first example of finetune" in said
