"""The quantisation study: forms in processes of their own, paired with 16 bit, a table, a plot, a sentence; both engines alike."""

import shutil

import pytest

from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.evaluation.generate import windowed_nll
from alif_kit.model import without_hub
from alif_kit.quantisation import study
from alif_kit.release.merge import write_sums
from alif_kit.report import page as report


def merged_base(path, base="tiny", **changes):
    run = Run.open(path, config.load("smoke", {"base.model": base, **changes}))
    shutil.copytree(without_hub.resolve(base, "ur", run.config.seed), run.file("release", "merged"))
    write_sums(run.file("release", "merged"))
    return run


def form(name, size, bits, right, speed=10.0):
    """A form as quantisation.measure leaves it: bits per byte of four documents, right or wrong on six questions."""
    scores = {"documents_ur": [[str(n), value, 100] for n, value in enumerate(bits)]}
    scores["choice"] = [[str(n), value, 1] for n, value in enumerate(right)]
    speeds = {"prompt_tokens_per_second": 100.0, "generation_tokens_per_second": speed}
    return {"form": name, "bytes": size, "memory_mib": 10.0, "device": "CPU", "threads": 2, **speeds, "scores": scores}


@pytest.fixture
def run(tmp_path):
    return Run.open(tmp_path / "r", config.load("smoke"))


def summarised(run, *forms):
    return [study._summary(run, one, forms[0]) for one in forms]


def test_the_smallest_form_within_the_margin_is_advised(run):
    forms = summarised(
        run,
        form("16bit", 1000, [1.0, 1.2, 1.4, 1.6], [1, 0, 1, 0, 1, 0]),
        form("q8_0", 530, [1.0, 1.21, 1.4, 1.61], [1, 0, 1, 0, 1, 0], 20.0),
        form("q4_k_m", 300, [1.1, 1.3, 1.5, 1.7], [1, 0, 1, 0, 0, 0], 30.0),
    )
    said = study.advice(forms, "ur", 0.02)
    assert said.startswith("q8_0 is the smallest form") and "53% of the 16-bit size" in said and "bits per byte +0.4%" in said
    assert "2.0 times its tokens a second" in said and "+0.0 points of multiple choice on 6 questions" in said
    assert study.advice(forms, "ur", 0.10).startswith("q4_k_m is")
    assert study.advice([forms[0], forms[2]], "ur", 0.02) == (
        "No smaller form keeps bits per byte within 2% of 16 bit: serve the 16-bit weights."
    )


def test_a_form_that_is_surely_worse_at_choosing_is_not_advised(run):
    sixteen = form("16bit", 1000, [1.0, 1.0], [1] * 40)
    forms = summarised(run, sixteen, form("nf4", 300, [1.0, 1.0], [0] * 30 + [1] * 10))
    assert forms[1]["measures"]["choice"]["paired"]["high"] < 0
    assert study.advice(forms, "ur", 0.02).startswith("No smaller form")


def test_differences_are_paired_and_weighted_by_bytes(run):
    heavy = form("16bit", 1000, [1.0, 2.0], [1, 0])
    heavy["scores"]["documents_ur"][1][2] = 300
    other = form("nf4", 300, [1.5, 2.5], [1, 0])
    other["scores"]["documents_ur"][1][2] = 300
    _, nf4 = summarised(run, heavy, other)
    assert nf4["measures"]["documents_ur"]["value"] == pytest.approx((100 * 1.5 + 300 * 2.5) / 400)
    assert nf4["measures"]["documents_ur"]["paired"]["difference"] == pytest.approx(0.5)
    header, rows = study.table({"forms": [nf4]}, "ur")
    assert header[-2:] == ["ur bits/byte", "multiple choice"] and rows[0][-2].endswith("+0.500*") and rows[0][1] == "0"


def test_an_unknown_form_is_named(run):
    with pytest.raises(UserError, match="--forms names 'int3'; expected some of 16bit, 8bit, nf4, f16"):
        study.study(run, ["int3"], 2)


def test_a_form_that_fails_is_named_and_16_bit_must_not(run, monkeypatch):
    def measured(run, name, limit):
        if name == "16bit":
            return form("16bit", 1000, [1.0, 1.0], [1, 0])
        raise StoppedError("measuring nf4 stopped with exit code 1; what it said stands above")

    monkeypatch.setattr(study, "_measured", measured)
    assert study.study(run, ["nf4"], 2)["missing"] == {"nf4": "measuring nf4 stopped with exit code 1; what it said stands above"}
    monkeypatch.setattr(study, "_measured", lambda *_: (_ for _ in ()).throw(StoppedError("no")))
    with pytest.raises(StoppedError):
        study.study(run, ["nf4"], 2)


def test_windows_count_every_token_once():
    """nats(piece, skip): here each token costs itself, so the sum is that of all tokens but the first."""
    seen = windowed_nll(list(range(25)), 10, lambda piece, skip: float(sum(piece[1 + skip :])))
    assert seen == sum(range(1, 25))


@pytest.mark.parametrize("window", [2, 3, 8, 9])
def test_every_window_begins_as_the_text_does_and_has_context(window):
    """Gemma foretells badly without the token that begins a text."""
    pieces = []
    windowed_nll(list(range(30)), window, lambda piece, skip: pieces.append((piece, skip)) or 0.0)
    assert all(piece[0] == 0 and len(piece) <= window for piece, _ in pieces)
    assert [token for piece, skip in pieces for token in piece[1 + skip :]] == list(range(1, 30))
    assert all(skip == min(window // 2, window - 2) for _, skip in pieces[1:]) and pieces[0][1] == 0


def test_the_study_of_a_real_model_stands_in_the_report(tmp_path):
    """The tiny base in 16 bit and NF4; its tokenizer is unknown to the converter, so GGUF is missing, with the reason."""
    run = merged_base(tmp_path / "run")
    results = study.study(run, ["nf4", "q8_0"], 2)
    whole, four = results["forms"]
    assert [whole["form"], four["form"]] == ["16bit", "nf4"] and four["bytes"] < whole["bytes"]
    assert whole["measures"]["documents_ur"]["n"] == whole["measures"]["choice"]["n"] == 2
    assert four["measures"]["documents_ur"]["paired"]["difference"] != 0 and four["generation_tokens_per_second"] > 0
    assert "q8_0" in results["missing"]
    kept = run.file("release", "quant_study", "nf4.json").stat().st_mtime_ns
    assert study.study(run, ["nf4"], 2)["forms"] == results["forms"]
    assert run.file("release", "quant_study", "nf4.json").stat().st_mtime_ns == kept
    page = report.build(run).read_text("utf-8")
    assert "What quantisation costs" in page and results["advice"].split(":")[0] in page and "bits per byte, 95 % interval" in page
