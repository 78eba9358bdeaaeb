"""Cards: every number from the run's files, a sentence for what is missing, terms shown, foreign text harmless."""

import ast
import json
import re
import struct
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from alif_kit import pipeline
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Example, Provenance, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.release import cards, facts, hub, merge, terms

CHANGES = {"corpus.source": "wikipedia", "mixture.sources": {"own": 0, "urdu_instruct": 0}}
LEDGER = [
    {"stage": "generate", "status": "done", "seconds": 1800, "tokens_in": 9, "tokens_out": 9, "usd_api": 1.25, "device": "cpu"},
    {"stage": "pretrain", "status": "stopped", "seconds": 3600, "tokens_in": 0, "tokens_out": 0, "usd_api": 0.0, "device": "cpu"},
    {
        "stage": "pretrain",
        "status": "done",
        "seconds": 3600,
        "tokens_in": 4_000_000,
        "tokens_out": 0,
        "usd_api": 0.0,
        "device": "cuda:0",
    },
    {
        "stage": "finetune",
        "status": "done",
        "seconds": 1800,
        "tokens_in": 2_000_000,
        "tokens_out": 0,
        "usd_api": 0.0,
        "device": "cuda:0",
    },
]

HOUSE = Path(cards.__file__).parents[1]


def value(number, low, high, n):
    return {"value": number, "low": low, "high": high, "n": n, "unparsed": 3}


def measure(key, label, base, tuned, kind="proportion", lower=False):
    paired = {"difference": tuned[0] - base[0], "low": 0.01, "high": 0.09, "p": 0.01, "n": tuned[3], "test": "mcnemar"}
    values = {"base": value(*base), "finetune": value(*tuned)}
    return {"key": key, "label": label, "group": "", "lower": lower, "kind": kind, "values": values} | {
        "paired": {"finetune": paired},
        "detectable": 0.02,
    }


RESULTS = {
    "suite": "full",
    "subjects": [{"name": "base", "model": "b"}, {"name": "finetune", "model": "b + finetune/adapter"}],
    "measures": [
        measure("knowledge_ur", "native knowledge, letter, Urdu prompt", (0.4, 0.39, 0.41, 3000), (0.45, 0.44, 0.46, 3000)),
        measure("bits_per_byte_ur", "Urdu bits per byte", (1.5, 1.4, 1.6, 200), (1.25, 1.2, 1.3, 200), "mean", True),
        measure("always_a", "native knowledge, if always A", (0.25, 0.24, 0.26, 3000), (0.25, 0.24, 0.26, 3000)),
        measure("nothing", "asked of nobody", (0.0, None, None, 0), (0.0, None, None, 0)),
    ],
    "missing": {"xnli_ur": "the file /home/someone/sets/xnli.json is not there"},
}
PASSED = {"guard": "knowledge", "verdict": "pass", "sentence": "knowledge: fine (n 3,000)"}
FAILED = {"guard": "stops", "verdict": "fail", "sentence": "stops: worse by 9.0%, 2.0% allowed (n 300)"}
UNDECIDED = {"guard": "safety", "verdict": "undecided", "sentence": "safety: too few examples to say (n 16)"}


def gate(verdict="pass", findings=(PASSED,), tuned="b + finetune/adapter"):
    return {"verdict": verdict, "base": "b", "tuned": tuned, "suite": "full", "findings": list(findings)}


def tensors(path, name):
    header = json.dumps({name: {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))


def example(instruction="سوال", output="جواب", category="qa"):
    return Example(category, instruction, output, provenance=Provenance("t", 0, 0, "h"))


def bare(path, changes=None):
    return Run.open(path, config.load("t4", {**CHANGES, **(changes or {})}))


def made(path, changes=None, gpu="h100", verdict=None):
    """A finished run, as its files would lie there after training on a card elsewhere."""
    run = bare(path, changes)
    write_jsonl(run.file("ledger.jsonl"), LEDGER)
    write_jsonl(run.file("data", "train.jsonl"), [example(), example("ترجمہ", "x", "ethics")])
    write_jsonl(run.file("data", "eval.jsonl"), [example("اور سوال")])
    reasons = {"accepted": 3, "not_novel": 2}
    write_json(run.file("synth", "funnel.json"), {"requests": 1, "candidates": 5, "accepted": 3, "reasons": reasons})
    part = {"source": "wikipedia", "language": "ur", "documents_read": 1200, "documents_train": 1000, "words_train": 250_000}
    write_json(run.file("pretrain", "corpus_funnel.json"), {"train": part | {"dropped": {"table": 150, "too_short": 40}}})
    source = {"rows_used": 2, "tokens": 50, "share": 0.25, "contaminated": {"data/eval.jsonl": 1}, "duplicate": 4}
    other = source | {"url": "https://huggingface.co/datasets/large-traversaal/urdu-instruct", "licence": "see its card"}
    sources = {"own": source | {"url": "", "licence": "x"}, "urdu_instruct": other}
    write_json(run.file("finetune", "mixture.json"), {"rows": 4, "tokens": 200, "skipped": {}, "sources": sources})
    for stage in ("pretrain", "finetune"):
        write_json(run.file(stage, "summary.json"), {"steps": 75, "final_loss": 1.5, "trainable_parameters": 32_000_000})
        write_json(run.file(stage, "plan.json"), {"planned": {"gpu": gpu}})
    write_json(run.file("evaluation", "results.json"), RESULTS)
    write_json(run.file("evaluation", "gate.json"), verdict or gate())
    release(run)
    return run


def release(run):
    """Adapter, merged model and a GGUF, small but well formed."""
    adapter, merged = run.file("finetune", "adapter"), run.file("release", "merged")
    tensors(adapter / "adapter_model.safetensors", "base_model.model.layers.0.self_attn.q_proj.lora_A.weight")
    write_json(adapter / "adapter_config.json", {"base_model_name_or_path": "/home/someone/.cache/base", "r": 16})
    (adapter / "README.md").write_text("base_model: /home/someone/.cache/base")
    tensors(merged / "model.safetensors", "model.embed_tokens.weight")
    write_json(merged / "config.json", {"hidden_size": 2, "num_hidden_layers": 1})
    about = {"logits_difference": 0.001, "same_top_token": 1.0, "n": 1024, "base": "/home/someone/.cache/base"}
    digest = merge.digest(adapter / "adapter_model.safetensors")
    write_json(merged / "merge.json", about | {"adapter_sha256": digest})
    merge.write_sums(merged)
    gguf = run.file("release", "gguf", "urdu-q8_0.gguf")
    gguf.parent.mkdir(parents=True)
    gguf.write_bytes(b"GGUF" + bytes(1_499_996))
    write_json(gguf.with_suffix(".json"), {"same_answers": 9, "n": 10, "agreed": 0.97, "stops": {"merged": 10, "gguf": 9}})
    gguf.with_name("Modelfile").write_text("FROM ./urdu-q8_0.gguf\n")


def test_seeds_that_were_trained_on_are_named_with_their_licence(tmp_path):
    run = made(tmp_path / "r")
    counts = json.loads(run.file("finetune", "mixture.json").read_text("utf-8"))
    counts["sources"]["seeds"] = counts["sources"]["own"] | {"licence": "cc-by-4.0"}
    write_json(run.file("finetune", "mixture.json"), counts)
    assert "| the language pack's hand-written seeds | 2 | 50 | 25.0 % | 1 | 4 | cc-by-4.0 |" in page(run)


def test_a_fitted_vocabulary_is_named_and_the_adapter_says_what_it_belongs_to(tmp_path):
    run = made(tmp_path / "r")
    write_json(
        run.file("finetune", "adapter", "fit.json"), {"languages": ["ur", "en"], "rows": 32000, "rows_before": 262144, "added": 0}
    )
    assert "fitted to ur, en: 32,000 rows of 262,144." in page(run)
    assert "`alif fit unsloth/gemma-3-4b-it --languages ur,en --rows 32000 --out FOLDER`" in page(run, "adapter")
    (sent,) = hub.plan(run, "me/urdu", ["adapter"], pipeline.card_facts(run))
    named = json.loads(sent.files["adapter_config.json"])["base_model_name_or_path"]
    assert named == "unsloth/gemma-3-4b-it fitted to 32000 rows"


def test_a_folder_that_alif_fit_made_stands_under_the_terms_of_its_base(tmp_path):
    run = made(tmp_path / "r", {"base.model": str(tmp_path)})
    fit = {"base": "gemma-270m", "languages": ["ur"], "coverage": 0.99, "rows": 9984, "rows_before": 262144, "added": 0}
    write_json(run.file("finetune", "adapter", "fit.json"), fit)
    assert "made with alif_kit" in page(run) and "[google/gemma-3-270m](https://huggingface.co/google/gemma-3-270m)" in page(run)
    assert "Gemma Terms of Use" in page(run)
    assert "`alif fit gemma-270m --languages ur --coverage 0.99 --out FOLDER`" in page(run, "adapter")


def page(run, kind="merged", to="me/Llama-urdu", published=None):
    found, names = pipeline.card_facts(run), cards.repositories(to)
    return cards.render(found, kind, names, published or {k: names[k] for k in found["kinds"]}, ungated=bool(found["causes"]))


def empty_tables(text):
    return re.findall(r"^\|[-|]+\|\n(?!\|)", text, re.MULTILINE)


# Front matter


def test_the_front_matter_of_the_merged_model(tmp_path):
    data = ModelCard(page(made(tmp_path / "r"))).data
    read = {k: v for k, v in data.to_dict().items() if k not in ("model-index", "tags")}
    assert read == {
        "language": ["ur", "en"],
        "license": "gemma",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "unsloth/gemma-3-4b-it",
        "base_model_relation": "finetune",
        "datasets": ["large-traversaal/urdu-instruct", "wikimedia/wikipedia"],
    }
    assert data.model_name == "Llama-urdu" and "urdu" in data.tags and "toy" not in data.tags


def test_only_measures_with_examples_reach_the_model_index_and_each_names_n_and_base(tmp_path):
    found = ModelCard(page(made(tmp_path / "r"))).data.eval_results
    assert [(r.metric_type, r.metric_value, r.dataset_type) for r in found] == [
        ("knowledge_ur", 0.45, "alif-kit-full"),
        ("bits_per_byte_ur", 1.25, "alif-kit-full"),
    ]
    assert found[0].metric_name == ("native knowledge, letter, Urdu prompt (n 3,000, 95 % 44.0% to 46.0%; base 40.0%)")


@pytest.mark.parametrize(
    "kind, together, base, relation, library",
    [
        ("adapter", ("adapter",), "unsloth/gemma-3-4b-it", "adapter", "peft"),
        ("gguf", ("merged", "gguf"), "me/Llama-urdu", "quantized", "gguf"),
        ("gguf", ("gguf",), "unsloth/gemma-3-4b-it", "finetune", "gguf"),
    ],
)
def test_each_kind_says_what_it_derives_from(tmp_path, kind, together, base, relation, library):
    names = cards.repositories("me/Llama-urdu")
    data = ModelCard(page(made(tmp_path / "r"), kind, published={k: names[k] for k in together})).data
    assert (data.base_model, data.base_model_relation, data.library_name) == (base, relation, library)


def test_names_of_the_repositories():
    expected = {"merged": "me/x", "adapter": "me/x-LoRA", "gguf": "me/x-GGUF"}
    assert cards.repositories("me/x") == cards.repositories("me/x-gguf") == cards.repositories("me/x-LoRA") == expected


def test_a_base_that_is_not_on_the_hub_is_not_claimed_to_be(tmp_path):
    folder = tmp_path / "my-base"
    folder.mkdir()
    text = page(made(tmp_path / "r", {"base.model": str(folder)}))
    data = ModelCard(text).data
    assert data.base_model is None and (data.license, data.license_name) == ("other", "unknown-look-it-up")
    assert "Base my-base: its licence is not known to the kit; look it up" in text and str(tmp_path) not in text


def test_a_card_that_the_library_cannot_read_is_refused():
    with pytest.raises(UserError, match="not what the Hub reads"):
        cards.check("---\n- a list\n---\n# x\n")
    with pytest.raises(UserError, match="lacks license"):
        cards.check("---\nlanguage: ur\n---\n# x\n")


# What the page says


def test_numbers_of_the_files_stand_in_the_page(tmp_path):
    text = page(made(tmp_path / "r"))
    assert "| native knowledge, letter, Urdu prompt | higher | 3,000 | 40.0% (39.0% to 41.0%) | 45.0% (44.0% to 46.0%) |" in text
    assert "| Urdu bits per byte | lower | 200 | 1.500 (1.400 to 1.600) | 1.250 (1.200 to 1.300) |" in text
    assert "3 accepted of 5 candidates in 1 requests to gpt-4o, temperature 1.0. Dropped: not\\_novel 2." in text
    assert "| ethics | 1 | 0 |" in text and "| all | 2 | 1 |" in text
    assert "| wikipedia | ur | 1,200 | 1,000 | 250,000 | 190 |" in text
    assert "| urdu\\_instruct | 2 | 50 | 25.0 % | 1 | 4 | see its card |" in text
    assert (
        "| continued pretraining | 75 | 4,000,000 | 2 × 4 | 2e-05 (frozen) |" in text and "| 32,000,000 | 1.5 | 2.0 hours |" in text
    )
    assert "Verdict: **pass**" in text and "| pass | knowledge: fine (n 3,000) |" in text and "has not passed" not in text
    assert "| urdu-q8\\_0.gguf | 2 | 9 of 10 | 97 % | 9 (merged 10) |" in text
    assert empty_tables(text) == []


def test_the_quantisation_study_stands_in_the_card(tmp_path):
    run = made(tmp_path / "r")
    assert "alif quant-study" not in page(run)
    form = {"form": "16bit", "bytes": 4e6, "memory_mib": 9.0, "prompt_tokens_per_second": 90.0, "generation_tokens_per_second": 8.0}
    form["measures"] = {"documents_ur": {"value": 1.5, "low": 1.4, "high": 1.6, "n": 3, "paired": None}}
    write_json(run.file("release", "quant_study", "results.json"), {"forms": [form], "missing": {}, "advice": "Serve 16 bit."})
    text = page(run)
    assert "| 16bit | 4 | 9 | 90 | 8.0 | 1.500 (1.400 to 1.600) |" in text and "Serve 16 bit." in text


def test_a_gguf_whose_answers_nobody_compared_says_so(tmp_path):
    run = made(tmp_path / "r")
    about = run.file("release", "gguf", "urdu-q8_0.json")
    write_json(about, {"architecture": "llama", "ends_known": True})
    assert "| urdu-q8\\_0.gguf | 2 | not compared | – | – |" in page(run)
    about.unlink()
    assert "| urdu-q8\\_0.gguf | 2 | not compared | – | – |" in page(run)


@pytest.mark.parametrize(
    "gpu, said",
    [
        ("h100", "2.50 GPU hours of training on H100"),
        ("h100", "GPU: $6.72 at $2.69 an hour (list price of 2026-05-22). In all $7.97; the Alif paper says under $100"),
        ("t4", "GPU: $0.00 at $0.00 an hour (a free session). In all $1.25;"),
        ("v100", "What the GPU cost is not known."),
    ],
)
def test_hours_and_dollars(tmp_path, gpu, said):
    text = page(made(tmp_path / "r", gpu=gpu))
    assert said in text and "API: $1.25." in text and ("In all" in text) == (gpu != "v100")


def test_a_card_that_the_run_has_not_named(tmp_path):
    run = made(tmp_path / "r")
    for stage in ("pretrain", "finetune"):
        run.file(stage, "plan.json").unlink()
    assert "2.50 GPU hours of training on a CUDA card whose name the run has not kept" in page(run)


def test_carbon_is_codecarbons_or_none(tmp_path):
    run = made(tmp_path / "r")
    assert "Carbon was not measured, and no estimate is given." in page(run)
    rows = [
        "run_id,emissions,energy_consumed,country_name",
        "a,0.001,0.01,Pakistan",
        "a,0.002,0.02,Pakistan",
        "b,0.01,0.1,Pakistan",
    ]
    run.file("finetune", "emissions.csv").write_text("\n".join(rows) + "\n")
    text = page(run)
    assert "measured by codecarbon: 12.0 g CO2eq, 0.120 kWh in Pakistan." in text
    assert ModelCard(text).data.to_dict()["co2_eq_emissions"] == {
        "emissions": 12.0,
        "source": "codecarbon",
        "training_type": "fine-tuning",
        "geographical_location": "Pakistan",
    }


def test_what_was_not_done_is_said_and_no_table_is_empty(tmp_path):
    run = bare(tmp_path / "r")
    text = page(run, published={"merged": "me/Llama-urdu"})
    for sentence in (
        "This model was not evaluated: nothing is known of how it compares with its base.",
        "No gate has judged this model.",
        "No instructions were generated in this run.",
        "What fine-tuning read is not recorded.",
        "There was no continued pretraining on running text.",
        "No stage of training has finished in this run.",
        "Its safety was not measured.",
        "No GGUF has been published",
        "The adapter has not been published.",
        "اس کی جانچ ابھی نہیں ہوئی۔",
    ):
        assert sentence in text
    assert empty_tables(text) == [] and "|---" not in text
    assert ModelCard(text).data.eval_results is None


def test_a_toy_says_so_before_anything_else(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    text = page(run, published={"merged": "me/x"})
    first = ModelCard(text).text.strip().splitlines()[2]
    assert first.startswith("> **This is a toy, not a model to use.**")
    assert "cannot converse" in first and "demonstration teacher, which fills templates" in first
    assert "toy" in ModelCard(text).data.tags
    assert "This is a toy" not in page(made(tmp_path / "real"))


def test_a_model_that_failed_says_so_at_the_top(tmp_path):
    text = page(made(tmp_path / "r", verdict=gate("fail", [PASSED, UNDECIDED, FAILED])))
    assert "> **It has not passed the regression gate.** stops: worse by 9.0%, 2.0% allowed (n 300). safety: too few" in text
    assert "کچھ باتوں میں اپنے بنیادی ماڈل سے کمزور نکلا" in text


# Terms


def test_llama_is_shown_and_its_notice_repeated(tmp_path):
    text = page(made(tmp_path / "r", {"base.model": "unsloth/Llama-3.2-3B-Instruct"}))
    assert "\n**Built with Llama**\n" in text and ModelCard(text).data.license == "llama3.2"
    assert "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc." in text
    assert "Built with Llama" not in page(made(tmp_path / "gemma"))


def test_a_base_that_the_kit_builds_keeps_the_terms_of_its_weights(tmp_path):
    run = made(tmp_path / "r", {"base.model": "gemma-270m"})
    text = page(run, to="me/urdu-270m")
    assert ModelCard(text).data.license == "gemma" and ModelCard(text).data.base_model == "google/gemma-3-270m"
    assert "[Gemma Terms of Use](https://ai.google.dev/gemma/terms)" in text and "/gemma/prohibited_use_policy" in text
    assert "subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. The weights were modified by training." in text
    assert terms.wanted_name("urdu-270m", terms.owed(run.config.base.model, run.config.teacher.model)) == "urdu-270m"


def test_a_teachers_terms_reach_the_model_too(tmp_path):
    run = made(tmp_path / "r", {"base.model": "unsloth/Qwen3-8B", "teacher.model": "llama-3.3-70b-versatile"})
    text = page(run)
    assert "\n**Built with Llama**\n" in text and ModelCard(text).data.license == "apache-2.0"
    assert [one.licence for one in terms.owed(run.config.base.model, run.config.teacher.model)] == [
        "Apache-2.0",
        "Llama 3.3 Community License",
    ]


@pytest.mark.parametrize(
    "model, licence",
    [
        ("unsloth/gemma-3-4b-it", "gemma"),
        ("google/gemma-2-9b-it", "gemma"),
        ("google/gemma-4-12b-it", "apache-2.0"),
        ("unsloth/Meta-Llama-3.1-8B", "llama3.1"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("llama3.3:70b", "llama3.3"),
        ("Qwen/Qwen3-14B", "apache-2.0"),
        ("gemma-270m", "gemma"),
        ("tiny", "apache-2.0"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "other"),
        ("google/medgemma-4b-it", "other"),
        ("gpt-4o", "other"),
    ],
)
def test_the_licence_of_a_model(model, licence):
    assert terms.of(model).id == licence


def test_every_licence_of_the_known_bases_has_terms():
    import tomllib

    bases = tomllib.loads((HOUSE / "model" / "bases.toml").read_text("utf-8"))
    known = tomllib.loads((HOUSE / "release" / "terms.toml").read_text("utf-8"))
    assert {row["licence"] for row in bases.values() if isinstance(row, dict)} <= set(known)
    assert {family["licence"] for family in known["families"]} <= set(known)


@pytest.mark.parametrize(
    "name, model, wanted",
    [
        ("urdu-8b", "llama3.1:8b", "Llama-urdu-8b"),
        ("llama-urdu", "llama3.1:8b", "Llama-urdu"),
        ("Llama-urdu", "llama3.1:8b", "Llama-urdu"),
        ("Llama-urdu", "llama3:8b", "Llama-3-urdu"),
        ("urdu", "gemma3:4b", "urdu"),
    ],
)
def test_a_name_that_the_licence_allows(name, model, wanted):
    assert terms.wanted_name(name, [terms.of(model)]) == wanted


# Foreign text


def test_foreign_text_does_no_harm(tmp_path):
    run = made(tmp_path / "r", {"teacher.model": "evil|<img src=x>`"})
    write_jsonl(run.file("data", "train.jsonl"), [example("<script>alert(1)</script>\n---\n# سرخی", "</blockquote>|a|")])
    text = page(run)
    assert "<script" not in text and "<img" not in text and "\n---\n#" not in text.split("---\n", 2)[2]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>---<br># سرخی</b><br>&lt;/blockquote&gt;|a|</blockquote>" in text
    assert "evil\\|&lt;img src=x&gt;\\`" in text
    assert "xnli\\_ur: the file xnli.json is not there" in text and "someone" not in text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a|b", "a\\|b"),
        ("read /home/x/y/z.json now", "read z.json now"),
        ("https://host.org/a/b", "https://host.org/a/b"),
        ("org/name:split", "org/name:split"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_cell(text, shown):
    assert cards.cell(text) == shown


# How to run it


def code(text, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_code_parses_and_carries_the_system_line(tmp_path):
    text = page(made(tmp_path / "r", {"mixture.system": 'آپ "مددگار" ہیں۔'}))
    blocks = code(text)
    assert len(blocks) == 4 and all(ast.parse(block) for block in blocks)
    assert '{"role": "system", "content": "آپ \\"مددگار\\" ہیں۔"}, {"role": "user"' in blocks[0]
    assert "llama-cli -hf me/Llama-urdu-GGUF:Q8_0" in text and "ollama run hf.co/me/Llama-urdu-GGUF:Q8_0" in text
    assert "vllm serve me/Llama-urdu\n" in text


def test_a_base_model_is_asked_in_its_frame(tmp_path):
    changes = {"base.model": "unsloth/Meta-Llama-3.1-8B", "base.chat_format": "alpaca"}
    first, *_, last = code(page(made(tmp_path / "r", changes)))
    assert "### ہدایت:\\nپاکستان کا دارالحکومت کون سا شہر ہے؟\\n\\n### جواب:\\n" in first and ast.parse(first)
    assert "client.completions.create" in last and ast.parse(last)


def test_an_adapter_on_an_unpublished_merge_is_not_offered(tmp_path):
    run = made(tmp_path / "r", {"lora.after_pretraining": "merge"})
    assert facts.kinds(run) == ["merged", "gguf"]
    assert "The adapter stands on a model that is not published" in page(run)


def test_the_transformers_snippet_asks_the_merged_model_as_it_was_taught(merged_run, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from alif_kit.core.records import SeedTask
    from alif_kit.model.chat_format import prompt_text

    folder = str(merged_run.file("release", "merged"))
    snippet = code(page(merged_run, to="me/toy"))[0].replace("me/toy", folder).replace("max_new_tokens=256", "max_new_tokens=12")
    exec(snippet, {})
    printed = capsys.readouterr().out
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt = prompt_text(SeedTask("qa", "پاکستان کا دارالحکومت کون سا شہر ہے؟", "-"), tokenizer, "native")
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert printed == tokenizer.decode(answer, skip_special_tokens=True) + "\n" and len(answer) > 1


# The command


def test_the_command_writes_the_card_and_says_what_is_lacking(tmp_path):
    run = made(tmp_path / "urdu", {"base.model": "unsloth/Llama-3.2-3B-Instruct"}, verdict=gate("undecided", [UNDECIDED]))
    result = CliRunner().invoke(main.app, ["card", "--run", str(run.path)])
    assert result.exit_code == 0, result.output
    assert "safety: too few examples to say" in result.output and "wants a copy of itself beside the weights" in result.output
    text = run.file("release", "README.md").read_text("utf-8")
    assert "# Llama-urdu\n" in text and "OWNER/Llama-urdu-GGUF" in text


@pytest.mark.parametrize(
    "change, said",
    [
        (None, []),
        ({"verdict": "undecided", "findings": [PASSED, UNDECIDED, FAILED]}, [FAILED["sentence"], UNDECIDED["sentence"]]),
        (
            {"tuned": "/home/someone/other"},
            ["the gate judged other, not this run's finetune/adapter; run `alif evaluate` without --model"],
        ),
    ],
)
def test_why_a_model_has_not_passed(tmp_path, change, said):
    run = made(tmp_path / "r", verdict={**gate(), **(change or {})})
    assert facts.gate_causes(run) == said


def test_a_pass_counts_for_the_weights_that_were_judged_only(tmp_path):
    run = made(tmp_path / "r")
    tensors(
        run.file("finetune", "adapter", "adapter_model.safetensors"), "base_model.model.layers.0.self_attn.v_proj.lora_A.weight"
    )
    assert "made of another adapter" in facts.gate_causes(run)[0]
    assert "It does not count for these weights: release/merged was made of another adapter" in page(run)
    run.file("evaluation", "gate.json").unlink()
    assert facts.gate_causes(run) == ["no gate has judged this run; `alif evaluate` does"]
