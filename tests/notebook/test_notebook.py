"""notebook: opening a run from the parameters cell, going on with it, and pieces of HTML that escape and run right to left."""

import os
import re
import sys
from pathlib import Path

import pytest

from alif_kit import pipeline
from alif_kit.core import config, progress
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.notebook import banner, display, session
from alif_kit.platforms import machine
from alif_kit.platforms.machine import Facts, Gpu
from alif_kit.training import trainer

T4 = Gpu("Tesla T4", 14.563, (7, 5))
P100 = Gpu("Tesla P100-PCIE-16GB", 15.9, (6, 0))


@pytest.fixture
def shown(monkeypatch):
    pages = []
    monkeypatch.setattr(display, "show", pages.append)
    return pages


@pytest.fixture
def here(monkeypatch, shown):
    """A machine to set the card of."""
    facts = {"gpu": None, "platform": "local"}
    monkeypatch.setattr(machine, "detect", lambda: Facts(facts["platform"], facts["gpu"], "a test"))
    return facts


def test_auto_takes_the_small_demonstration_without_a_card_and_the_lessons_own_preset_with_one(tmp_path, here):
    assert banner.start("auto", str(tmp_path / "cpu")).config.preset == "smoke"
    here["gpu"] = T4
    assert banner.start("auto", str(tmp_path / "t4")).config.preset == "t4"
    quick = banner.start("auto", str(tmp_path / "quick"), on_gpu="quick").config
    assert (quick.preset, quick.base.model, quick.teacher.base_url) == ("quick", "unsloth/gemma-3-1b-it", "demo")


def test_a_run_that_exists_keeps_its_settings_and_takes_what_may_change(tmp_path, here, shown):
    folder = str(tmp_path / "r")
    first = banner.start("smoke", folder, 0, {"synth.targets": {"qa": 3}, "corpus.source": None})
    assert first.config.corpus.source == "pack" and "new" in shown[-1]
    with first.stage("generate"):
        pass
    here["gpu"] = T4
    later = banner.start("auto", folder, 2.5, {"evaluation.max_examples": 9})
    assert later.config.preset == "smoke" and later.config.synth.targets == {"qa": 3}
    assert (later.config.session.hours, later.config.evaluation.max_examples) == (2.5, 9)
    assert "has generate; goes on from there" in shown[-1] and "after 2.5 hours" in shown[-1]
    with pytest.raises(UserError, match="was started with preset = 'smoke', now it is 't4'"):
        banner.start("t4", folder)


def test_an_empty_text_is_a_setting_too(tmp_path, here):
    run = banner.start("t4", str(tmp_path / "r"), 0, {"teacher.key_name": "", "teacher.base_url": "demo"})
    assert run.config.teacher.key_name == ""


def test_a_p100_is_refused_before_a_folder_is_made(tmp_path, here):
    here |= {"gpu": P100, "platform": "kaggle"}
    with pytest.raises(UserError, match="GPU T4 x2"):
        banner.start("auto", str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_of_two_cards_a_notebook_takes_the_first_unless_somebody_has_chosen(monkeypatch):
    monkeypatch.setattr(machine, "query_gpus", lambda: [T4, T4])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert banner._one_card() == "" and "CUDA_VISIBLE_DEVICES" not in os.environ  # too late: torch has seen both
    monkeypatch.delitem(sys.modules, "torch")
    assert "uses the first" in banner._one_card() and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert banner._one_card() == ""


def test_a_bare_name_lies_where_sessions_outlive(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "durable_folder", lambda: tmp_path / "drive")
    assert banner.folder_of("mine") == tmp_path / "drive" / "mine"
    assert banner.folder_of("runs/mine") == Path("runs/mine")


def test_drive_is_asked_for_only_on_request_and_hours_come_from_the_platform(tmp_path, here, shown, monkeypatch):
    monkeypatch.setattr(session, "mount_drive", lambda: "Drive <is> there")
    monkeypatch.setattr(session, "session_hours", lambda: 11.5)
    assert banner.start("smoke", str(tmp_path / "a")).config.session.hours == 11.5 and "Drive" not in shown[-1]
    banner.start("smoke", str(tmp_path / "b"), drive=True)
    assert "Drive &lt;is&gt; there" in shown[-1]
    here["platform"] = "colab"
    banner.start("smoke", str(tmp_path / "c"))
    assert "switch on KEEP_ON_DRIVE" in shown[-1]
    monkeypatch.setattr(machine, "drive_mounted", lambda: True)
    banner.start("smoke", str(tmp_path / "d"))
    assert "KEEP_ON_DRIVE" not in shown[-1]


def test_catching_up_does_what_is_missing_in_order_and_never_pays(tmp_path, monkeypatch, capsys):
    done = []
    for module, name, stage in (
        (pipeline, "generate", "generate"),
        (trainer, "pretrain", "pretrain"),
        (trainer, "finetune", "finetune"),
    ):
        monkeypatch.setattr(module, name, lambda run, stage=stage: done.append(stage))
    run = Run.open(tmp_path / "free", config.load("smoke"))
    with run.stage("pretrain"):
        pass
    banner.catch_up(run, "evaluate")
    assert done == ["generate", "finetune"] and "generate has not been done" in capsys.readouterr().out
    paid = Run.open(tmp_path / "paid", config.load("t4"))
    with pytest.raises(UserError, match="gpt-4o is not free; run notebook 01"):
        banner.catch_up(paid, "finetune")
    assert done == ["generate", "finetune"]


def test_what_a_model_wrote_is_shown_not_run(shown):
    display.urdu("<script>x</script> سلام")
    display.rows(["a", "b"], [["<b>", "سلام\nدنیا"], [None, 0.12345]])
    assert "&lt;script&gt;" in shown[0] and 'dir="rtl" lang="ur"' in shown[0]
    assert "&lt;b&gt;" in shown[1] and "0.123" in shown[1] and "–" in shown[1]
    assert [bool(re.search("rtl", cell)) for cell in re.findall("<td.*?</td>", shown[1], re.DOTALL)] == [False, True, False, False]


def test_a_frame_shows_its_index_when_it_names_the_rows(shown):
    import pandas

    display.table(pandas.DataFrame({"n": [1, 2]}, index=["x", "y"]))
    display.table(pandas.DataFrame({"n": [1, 2]}))
    assert ">x</td>" in shown[0] and ">x</td>" not in shown[1] and shown[1].count("<td") == 2


def test_a_card_is_shown_without_front_matter_and_without_its_html(tmp_path, shown):
    path = tmp_path / "card.md"
    path.write_text('---\nlicense: x\n---\n# Title\n\n<div dir="rtl">\n\nسلام\n\n</div>\n\n<img src=x onerror=y>\n', "utf-8")
    display.card(path)
    assert "license" not in shown[0] and "<h1>Title</h1>" in shown[0] and '<p dir="auto">سلام</p>' in shown[0]
    assert "<img" not in shown[0] and "&lt;div" not in shown[0]


def test_a_mistake_is_one_sentence_and_still_an_error():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    told = []
    shell._showtraceback = lambda kind, error, lines: told.extend(lines)
    shell.set_custom_exc((UserError, StoppedError), banner._one_sentence)
    result = shell.run_cell("from alif_kit.core.errors import UserError\nraise UserError('rank is 0; expected 1 or more')")
    assert not result.success and len(told) == 1 and told[0].endswith("rank is 0; expected 1 or more")


def test_a_bar_in_a_notebook_redraws_one_place_and_keeps_the_last_lines(monkeypatch):
    pages = []

    class Slot(progress._Slot):
        def draw(self):
            pages.append(list(self.lines[-progress.LINES_SHOWN :]))

    slot = Slot(1, None)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "_slot_here", lambda: slot)
    for n in range(6):
        with progress.bar(f"set {n}", 3) as update:
            update(1, "<note>")
            update(3, "<note>")
    assert len(pages[-1]) == 4 and "set 5" in pages[-1][-1] and "3 of 3" in pages[-1][-1] and "&lt;note&gt;" in pages[-1][-1]
    with progress.bar("unknown", None) as update:
        update(100)
    assert "<progress  style" in slot.lines[-1] and " 0, " in slot.lines[-1]
