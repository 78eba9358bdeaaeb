"""GGUF: refusals, room, Modelfiles, and, on real weights, files that answer and end as the merged model does."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tiny_models import tiny_model

from alif_kit import pipeline
from alif_kit.cli import release
from alif_kit.core import config
from alif_kit.core.config import Base
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.run import Run
from alif_kit.model import without_hub
from alif_kit.release import facts, gguf, hub, ollama, read_back


@pytest.fixture(scope="module")
def tiny():
    return Path(without_hub.resolve("tiny", "ur", 3407))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
    assert names(tmp_path / "g") == ["x-q4_k_m.unchecked.gguf", "x-q5_k_m.unchecked.gguf"] and not names(tmp_path / "scratch")
    calls.clear()
    gguf.make(tiny, ["f16", "q4_k_m", "q6_k"], tmp_path / "g", "x")
    assert calls == ["f16", ("q6_k", "f16")] and (tmp_path / "g" / "x-f16.unchecked.gguf").is_file()


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
    assert names(tmp_path / "g") == ["urdu-q4_k_m.unchecked.gguf", "urdu-q8_0.unchecked.gguf"]
    monkeypatch.setattr(model, "save_pretrained_gguf", lambda *_, **__: {"gguf_files": []}, raising=False)
    with pytest.raises(StoppedError, match="made no f16"):
        gguf.make(tiny, ["f16"], tmp_path / "g", "urdu")


def test_a_file_is_made_again_where_it_is_wrong_or_older_than_the_weights_only(tiny, tmp_path, monkeypatch):
    weighed, calls = max(shard.stat().st_mtime for shard in tiny.glob("*.safetensors")), []
    monkeypatch.setattr(gguf, "_engine", lambda quants: "ggml")
    monkeypatch.setattr(gguf, "convert", lambda merged, quant, target: (calls.append(target.name), target.write_text("new")))
    for name, age, expected in (
        ("x-q8_0.gguf", 1, "x-q8_0.gguf"),
        ("x-q8_0.unchecked.gguf", 1, "x-q8_0.unchecked.gguf"),
        ("x-q8_0.wrong.gguf", 1, None),
        ("x-q8_0.gguf", -1, None),
        ("x-q8_0.unchecked.gguf", -1, None),
    ):
        folder = tmp_path / f"{name}{age}"
        folder.mkdir()
        (folder / name).write_text("old")
        os.utime(folder / name, (weighed + age, weighed + age))
        calls.clear()
        (made,) = gguf.make(tiny, ["q8_0"], folder, "x")
        assert made.name == (expected or "x-q8_0.unchecked.gguf") and made.read_text() == ("old" if expected else "new")
        assert calls == ([] if expected else ["x-q8_0.unchecked.gguf"])


def test_the_converter_reads_links_and_the_added_tokens_beside_them(tmp_path):
    """Of a folder as transformers 5 saves it. The merged one, whose files have sums, stays as it is."""
    merged = tmp_path / "merged"
    merged.mkdir()
    tokens = [{"id": 5, "content": "<start_of_turn>", "special": True}, {"id": 6, "content": "▁▁", "special": False}]
    (merged / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens, "model": {"type": "BPE"}}), "utf-8")
    (merged / "tokenizer_config.json").write_text('{"eos_token": "<eos>"}')
    (merged / "model.safetensors").write_text("weights")
    (tmp_path / "a").mkdir()
    read = gguf._as_ggml_reads(merged, tmp_path / "a")
    assert read == tmp_path / "a" / "merged" and all(path.is_symlink() for path in read.iterdir())  # no SentencePiece: links only
    (merged / "tokenizer.model").write_text("pieces")
    (tmp_path / "b").mkdir()
    read = gguf._as_ggml_reads(merged, tmp_path / "b")
    said = json.loads((read / "tokenizer_config.json").read_text("utf-8"))
    assert said == {"eos_token": "<eos>", "added_tokens_decoder": {"5": tokens[0], "6": tokens[1]}}
    assert (merged / "tokenizer_config.json").read_text() == '{"eos_token": "<eos>"}' and (read / "model.safetensors").is_symlink()
    assert names(merged) == ["model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"]


def header(path, tiny, kind="gpt2", stop=0):
    """A GGUF file without weights that says what the toy's tokenizer says, except for what is given."""
    from gguf import GGUFWriter

    tokenizer = read_back._tokenizer(tiny)
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(kind)
    writer.add_eos_token_id(tokenizer.eos_token_id + stop)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def without_llama(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "llama_cpp" else real(name, *rest))


def with_llama(monkeypatch, tokens, answers):
    """As if llama.cpp were there and had found these."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: object() if name == "llama_cpp" else real(name, *rest))
    monkeypatch.setattr(read_back, "_tokens_compared", lambda *_: dict(tokens))
    monkeypatch.setattr(read_back, "_compared", lambda *_: dict(answers))


WITHOUT = {"not_compared": "llama.cpp is not installed"}
NATS = {"nats": 4.0, "merged_nats": 3.0, "tokens": 90}
ANSWERS = {"same_answers": 1, "agreed": 0.5, "stops": {"merged": 2, "gguf": 2}, "n": 2}


def test_what_could_not_be_compared_is_called_unchecked_until_it_is(tiny, tmp_path, monkeypatch):
    base, path = Base(str(tiny), "alpaca", False, 512), tmp_path / "x-q8_0.unchecked.gguf"
    header(path, tiny)
    (tmp_path / "x-q8_0.wrong.gguf").write_text("of an earlier call")
    without_llama(monkeypatch)
    path, found = read_back.read_back(path, tiny, base, ["a"], ["b"])
    assert names(tmp_path) == ["x-q8_0.unchecked.gguf", "x-q8_0.unchecked.json"] and path.name == "x-q8_0.unchecked.gguf"
    assert found["state"] == "unchecked" and found["faults"] == [] and "n" not in found and found.items() >= WITHOUT.items()
    assert json.loads(path.with_suffix(".json").read_text()) == found

    with monkeypatch.context() as small:
        with_llama(small, {"texts": 2, "same_tokens": 2, "ends_known": True}, ANSWERS)
        small.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
        path, found = read_back.read_back(path, tiny, base, ["a"], ["b"])
    assert found["state"] == "unchecked" and re.fullmatch(
        r"the merged model takes 0\.\d GB of memory, 0\.0 are free", found["not_compared"]
    )

    with monkeypatch.context() as there:
        with_llama(there, {"texts": 2, "same_tokens": 2, "ends_known": True}, ANSWERS)
        path, found = read_back.read_back(path, tiny, base, ["a"], ["b"])
    assert found["state"] == "right" and names(tmp_path) == ["x-q8_0.gguf", "x-q8_0.json"]
    with monkeypatch.context() as again:
        again.setattr(read_back, "inspected", lambda *_: pytest.fail("read again"))
        known = found | NATS
        path.with_suffix(".json").write_text(json.dumps(known))
        assert read_back.read_back(path, tiny, base, ["a"], ["b"]) == (path, known)
    os.utime(path, (2e9, 2e9))  # changed since
    assert read_back.read_back(path, tiny, base, ["a"], ["b"])[1]["state"] == "unchecked"


@pytest.mark.parametrize(
    "said, tokens, answers, fault",
    [
        ({"kind": "llama"}, {}, {}, "its tokenizer is of another kind than the model's"),
        ({"stop": 1}, {}, {}, "its stop token ends no answer"),
        ({}, {"ends_known": False}, {}, "its stop token ends no answer"),
        ({}, {"same_tokens": 1}, {}, "llama.cpp cuts 2 texts, 1 of them as the model's tokenizer does, so its answers are not to"),
        ({}, {}, {"agreed": 0.0}, "not one of its 2 answers begins like the merged model's"),
        ({}, {}, NATS | {"nats_off": 0.34}, "90 tokens of text cost it 4.00 nats each, the merged model 3.00"),
    ],
)
def test_what_is_wrong_is_called_wrong_with_the_reason(tiny, tmp_path, monkeypatch, said, tokens, answers, fault):
    header(tmp_path / "x.gguf", tiny, **said)
    with_llama(monkeypatch, {"texts": 2, "same_tokens": 2} | tokens, ANSWERS | answers)
    path, found = read_back.read_back(tmp_path / "x.gguf", tiny, Base(str(tiny), "alpaca", False, 512), ["a"], ["b"])
    assert names(tmp_path) == ["x.wrong.gguf", "x.wrong.json"] and path.name == "x.wrong.gguf"
    assert found["state"] == "wrong" and len(found["faults"]) == 1 and found["faults"][0].startswith(fault)
    assert ("n" in found) == bool(answers)  # a file whose tokens are wrong is not asked


def test_what_is_not_known_to_be_right_ends_with_one_sentence_that_says_what_to_do(capsys, tmp_path, monkeypatch):
    found = {"faults": [], "text_only": True, "state": "right"} | ANSWERS
    states = {"x-q8_0.gguf": found, "x-f16.unchecked.gguf": {"faults": [], "text_only": True, "state": "unchecked", **WITHOUT}}
    for name in states:
        (tmp_path / name).write_bytes(bytes(2_000_000))
    monkeypatch.setattr(release, "open_run", lambda *_, **__: Run(tmp_path, None))
    monkeypatch.setattr(release.ak, "gguf", lambda *_: {tmp_path / name: about for name, about in states.items()})
    with pytest.raises(
        StoppedError,
        match=r"^x-f16.unchecked.gguf: answers were not compared, for llama.cpp .* pip install 'alif-kit\[llama\]' .* renames$",
    ) as error:
        release.gguf()
    said = capsys.readouterr().out.splitlines()
    assert error.value.exit_code == 1 and said[:2] == [
        "x-q8_0.gguf: 2 MB; without the part of the model that sees pictures; 1 of 2 answers are the merged model's, 50% of their tokens; "
        "2 end by themselves, 2 of the merged model's",
        "x-f16.unchecked.gguf: 2 MB; without the part of the model that sees pictures",
    ]
    states["x-f16.unchecked.gguf"]["not_compared"] = "the merged model takes 19.2 GB of the card, 14.0 are free"
    with pytest.raises(StoppedError, match="14.0 are free; run this command again where there is more: it checks and renames"):
        release.gguf()
    capsys.readouterr()
    del states["x-f16.unchecked.gguf"]
    release.gguf()
    states["x-q8_0.gguf"] = found | {"state": "wrong", "faults": ["its stop token ends no answer"]}
    with pytest.raises(StoppedError, match="x-q8_0.gguf: not the merged model's, for the reasons above; do not use it"):
        release.gguf()
    assert "x-q8_0.gguf: 2 MB; its stop token ends no answer; without" in capsys.readouterr().out


def test_only_right_files_get_a_modelfile_and_are_sent(tiny, tmp_path, monkeypatch):
    run = Run(tmp_path, config.load("smoke"))
    run.file("release", "merged").mkdir(parents=True)
    monkeypatch.setattr(pipeline, "_merged", lambda run: run.file("release", "merged"))
    folder = run.file("release", "gguf")
    folder.mkdir()
    made, state = folder / "x-q8_0.gguf", "right"
    monkeypatch.setattr(gguf, "make", lambda *_: [made])
    monkeypatch.setattr(read_back, "sample_prompts", lambda *_: [])
    monkeypatch.setattr(read_back, "read_back", lambda path, *_: (gguf.named(path, state), {"state": state}))
    pipeline.gguf(run)
    assert (folder / "Modelfile").read_text().startswith("FROM ./x-q8_0.gguf\n")
    monkeypatch.setattr(ollama, "create", lambda *_: pytest.fail("registered"))
    state = "unchecked"
    assert (
        list(pipeline.gguf(run, ollama_name="urdu")) == [folder / "x-q8_0.unchecked.gguf"] and not (folder / "Modelfile").exists()
    )

    for name in ("x-f16.gguf", "x-q8_0.unchecked.gguf", "x-q4_k_m.wrong.gguf"):
        (folder / name).touch()
    assert [path.name for path in facts.gguf_files(run)] == ["x-f16.gguf"]
    assert hub.left_here(run) == [
        "x-q4_k_m.wrong.gguf is not sent: it is not known to be right",
        "x-q8_0.unchecked.gguf is not sent: it is not known to be right",
    ]
    assert [gguf.is_right(folder / f"x-q8_0.{end}") for end in ("json", "unchecked.json", "wrong.json", "partial")] == [
        True
    ] + 3 * [False]


def test_few_bits_may_cost_more_nats():
    about = {"template_is_the_models": True, "tokenizer_is_the_models": True, "ends_known": True, **NATS}
    assert [
        len(read_back.faults(about | {"nats_off": off, "bits": bits})) for off, bits in ((0.02, 8.5), (-0.2, 8.5), (0.2, 4.9))
    ] == [
        0,
        1,
        0,
    ]
    assert len(read_back.faults(about | {"nats_off": 0.4, "bits": 4.9})) == 1
    assert read_back.faults(about | {"nats_off": -0.4, "bits": 4.9}) == []


def test_a_tokenizer_that_stops_llama_cpp_is_a_fault_and_no_crash(tiny, tmp_path, monkeypatch):
    """The child may abort; then, or where its ids differ, the tokens are not the same."""
    tokenizer = read_back._tokenizer(tiny)
    ids = tokenizer("پاکستان", add_special_tokens=False)["input_ids"]
    for returncode, tokens, stops, expected in (
        (0, ids, [7], {"same_tokens": 1, "ends_known": True}),
        (0, [1, 2], [], {"same_tokens": 0, "ends_known": False}),
        (-6, ids, [7], {"same_tokens": 0}),
    ):
        done = subprocess.CompletedProcess([], returncode, f"loaded\n{json.dumps({'tokens': [tokens], 'stops': stops})}", "")
        monkeypatch.setattr(read_back.subprocess, "run", lambda *_, done=done, **__: done)
        assert read_back._tokens_compared(tmp_path / "x.gguf", tokenizer, ["پاکستان"], {7}) == {"texts": 1} | expected


def test_texts_are_of_both_languages_and_many():
    texts = read_back.sample_texts("ur")
    assert len(texts) > 200 and any("   " in text for text in texts) and any("\n\n\n\n" in text for text in texts)
    assert sum("the " in text for text in texts) > 20 < sum("ہے" in text for text in texts)


@pytest.mark.slow
def test_the_file_of_a_gemma_that_sees_has_its_tokenizer(tmp_path):
    """From a folder as transformers 5 saves it. Of gemma3 the tokenizer lists one token more than the matrix has rows."""
    merged, sums = tmp_path / "merged", {}
    tiny_model("gemma3_sees", merged)
    read_back._tokenizer(merged).save_pretrained(merged)
    sums = {path.name: path.read_bytes() for path in merged.iterdir()}
    (path,) = gguf.make(merged, ["f16"], tmp_path / "gguf", "x")
    assert {file.name: file.read_bytes() for file in merged.iterdir()} == sums
    found = read_back.inspected(path, merged, Base(str(merged), "native", False, 512), read_back.sample_texts("ur"))
    assert found["text_only"]
    assert found["faults"] == [] and found.get("same_tokens") == found.get("texts")
    says_what_googles_says(path, 262208)


def says_what_googles_says(path, rows):
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    said = {
        name.removeprefix("tokenizer.ggml."): field.contents() for name, field in fields.items() if name.startswith("tokenizer.")
    }
    assert said["model"] == "llama" and said["pre"] == "default" and len(said["tokens"]) == rows
    assert said["add_bos_token"] is True and said["add_space_prefix"] is False and said["bos_token_id"] == 2
    assert [said[name][106] for name in ("tokens", "scores", "token_type")] == ["<end_of_turn>", -1000.0, 3]
    assert [said[name][139] for name in ("tokens", "scores", "token_type")] == ["   ", -1000.0, 4]
    assert [said[name][1494] for name in ("tokens", "scores", "token_type")] == ["▁high", -1000.0, 1]  # its own score
    kinds = Counter(said["token_type"][:262144])
    assert kinds[6] == 256 and kinds[4] + kinds[3] == 6414 and kinds[1] == 255474
    if rows > 262144:
        assert said["tokens"][262144:262146] == ["<image_soft_token>", "[PAD262145]"] and said["token_type"][262144:262146] == [
            3,
            5,
        ]
