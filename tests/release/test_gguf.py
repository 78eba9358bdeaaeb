"""GGUF: refusals, room, Modelfiles, and, on real weights, files that answer and end as the merged model does."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.model import smollm2, without_hub
from alif_kit.release import gguf, ollama, read_back


@pytest.fixture(scope="module")
def tiny():
    return Path(without_hub.resolve("tiny", "ur", 3407))


def test_a_quantisation_that_is_none_is_named(tiny, tmp_path):
    with pytest.raises(UserError, match="names 'q9'; expected some of f16"):
        gguf.make(tiny, ["q9"], tmp_path, "x")


def test_the_toy_base_cannot_become_gguf_and_nothing_is_left(tiny, tmp_path):
    with pytest.raises(UserError, match="does not know the tokenizer") as error:
        gguf.make(tiny, ["q8_0"], tmp_path / "g", "x")
    assert "\n" not in str(error.value) and list((tmp_path / "g").iterdir()) == []


def test_missing_packages_are_named_with_the_line_to_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'alif-kit\[release\]'"):
        gguf.make(tiny, ["q8_0"], tmp_path, "x")
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    with pytest.raises(UserError, match=r"q4_k_m needs llama.cpp; run: pip install 'alif-kit\[llama\]'"):
        gguf.quantise(tmp_path / "f", "q4_k_m", tmp_path / "t")


def test_a_full_disk_stops_before_it_starts(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 1000})())
    monkeypatch.setattr(gguf, "convert", lambda *_: pytest.fail("started"))
    with pytest.raises(UserError, match="make room or ask for fewer"):
        gguf.make(tiny, ["q8_0"], tmp_path, "x")


def test_the_f16_between_is_made_once_and_goes_unless_it_was_asked_for(tiny, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(gguf, "_engine", lambda quants: "ggml")
    monkeypatch.setattr(gguf, "convert", lambda merged, quant, target: (calls.append(quant), target.write_text("f16")))
    monkeypatch.setattr(
        gguf, "quantise", lambda source, quant, target: (calls.append((quant, source.read_text())), target.write_text("k"))
    )
    (tmp_path / "scratch").mkdir()
    gguf.make(tiny, ["q4_k_m", "q5_k_m"], tmp_path / "g", "x", tmp_path / "scratch")
    assert calls == ["f16", ("q4_k_m", "f16"), ("q5_k_m", "f16")]
    assert sorted(p.name for p in (tmp_path / "g").iterdir()) == ["x-q4_k_m.gguf", "x-q5_k_m.gguf"] and not list(
        (tmp_path / "scratch").iterdir()
    )
    calls.clear()
    gguf.make(tiny, ["f16", "q4_k_m", "q6_k"], tmp_path / "g", "x")
    assert calls == ["f16", ("q6_k", "f16")] and (tmp_path / "g" / "x-f16.gguf").is_file()


def test_a_converter_that_stops_says_its_last_word(tiny, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nOSError: No space left on device\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(StoppedError, match="No space left on device"):
        gguf.convert(tiny, "f16", tmp_path / "x.gguf")


@pytest.mark.parametrize(
    "template, stop",
    [
        ("{% for m in messages %}<|im_start|>{{ m.role }}", "<|im_end|>"),
        ("<|start_header_id|>", "<|eot_id|>"),
        ("<start_of_turn>user", "<end_of_turn>"),
    ],
)
def test_a_modelfile_has_frame_and_stops_of_its_family(template, stop):
    text = ollama.modelfile("m.gguf", template, 'آپ ایک "مددگار" ہیں۔', 4096)
    assert text.startswith("FROM ./m.gguf\nTEMPLATE ") and f'PARAMETER stop "{stop}"' in text
    assert 'SYSTEM """آپ ایک "مددگار" ہیں۔"""' in text and text.endswith("PARAMETER num_ctx 4096\n")


def test_an_unknown_family_leaves_the_frame_to_the_file():
    text = ollama.modelfile("m.gguf", "[INST]")
    assert "TEMPLATE" not in text and "SYSTEM" not in text and "reads the template that the GGUF carries" in text


def test_without_ollama_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs Ollama, which is not on this machine"):
        ollama.create("urdu", tmp_path)


def test_how_far_two_answers_agree():
    assert (
        read_back._agreed([1, 2, 3, 4], [1, 2, 9, 4]) == 0.5
        and read_back._agreed([], []) == 1.0
        and read_back._agreed([1], [1, 2]) == 0.5
    )


def test_on_a_card_without_the_packages_unsloth_makes_the_files(tiny, tmp_path, monkeypatch):
    """Its exporter is stood in for: it writes where the real one does and returns what the real one returns."""

    def export(folder, tokenizer, quantization_method):
        made = Path(folder + "_gguf")
        made.mkdir(parents=True)
        files = [made / f"merged.{quant.upper()}.gguf" for quant in reversed(quantization_method)]
        for file in files:
            file.write_text(file.name)
        return {"gguf_files": [str(f) for f in files]}

    model = type("M", (), {"save_pretrained_gguf": staticmethod(export)})()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(gguf, "_has_card", lambda: True)
    monkeypatch.setattr(gguf.seam, "load", lambda *_: gguf.seam.Loaded(model, None, "cuda:0"))
    made = gguf.make(tiny, ["q8_0", "q4_k_m"], tmp_path / "g", "urdu")
    assert [p.read_text() for p in made] == ["merged.Q8_0.gguf", "merged.Q4_K_M.gguf"]
    assert sorted(p.name for p in (tmp_path / "g").iterdir()) == ["urdu-q4_k_m.gguf", "urdu-q8_0.gguf"]
    monkeypatch.setattr(model, "save_pretrained_gguf", lambda *_, **__: {"gguf_files": []}, raising=False)
    with pytest.raises(StoppedError, match="made no f16"):
        gguf.make(tiny, ["f16"], tmp_path / "g", "urdu")


def test_a_tokenizer_that_stops_llama_cpp_is_a_fault_and_no_crash(tiny, tmp_path, monkeypatch):
    """The child may abort; then, or where its ids differ, the tokens are not the same."""
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny)("پاکستان", add_special_tokens=False)["input_ids"]
    for returncode, stdout, same in ((0, f"[{ids}]", True), (0, "[[1, 2]]", False), (-6, "", False)):
        done = subprocess.CompletedProcess([], returncode, stdout, "")
        monkeypatch.setattr(read_back.subprocess, "run", lambda *_, done=done, **__: done)
        assert read_back._same_tokens(tmp_path / "x.gguf", tiny, ["پاکستان"]) is same


@pytest.mark.slow
def test_tuned_real_weights_merge_become_gguf_and_end_where_the_merged_model_ends(tmp_path):
    """SmolLM2 fine-tuned a few steps: merge, q8_0 and q4_k_m, asked through llama.cpp."""
    pytest.importorskip("llama_cpp")
    try:
        smollm2.gguf_file()
    except UserError as reason:
        pytest.skip(str(reason))
    changes = {
        "base.model": "smollm2",
        "base.load_in_4bit": False,
        "base.max_seq_length": 256,
        "lora.train_vocab": "none",
        "synth.targets": {"qa": 8},
    }
    stage = {"max_steps": 2, "batch_size": 2, "learning_rate": 1e-5, "warmup_steps": 0}
    changes |= {f"{name}.{key}": value for name in ("pretrain", "finetune") for key, value in stage.items()}
    run = Run.open(tmp_path / "run", config.load("smoke", changes))
    from alif_kit.training import trainer

    pipeline.generate(run)
    trainer.pretrain(run)
    trainer.finetune(run)
    found = {path.stem.rsplit("-", 1)[1]: about for path, about in pipeline.gguf(run, ["q8_0", "q4_k_m"]).items()}
    assert (run.file("release", "gguf", "Modelfile")).is_file() and not list(run.file("release").rglob("*.tmp*"))
    for about in found.values():
        assert about["architecture"] == "llama" and about["template_is_the_models"] and about["ends_known"] and about["n"] == 10
        assert about["same_tokens"]
        assert about["stops"]["gguf"] >= 1
    assert found["q8_0"]["agreed"] > 0.5 and found["q8_0"]["same_answers"] >= 3
    assert found["q4_k_m"]["bytes"] < found["q8_0"]["bytes"]
