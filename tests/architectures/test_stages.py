"""Each architecture with its real tokenizer through all stages, killed on the way, to a GGUF that llama.cpp cuts texts as it does."""

import contextlib
import json

import pytest
from tiny_models import ARCHITECTURES, fitted, tiny_model

from alif_kit import pipeline
from alif_kit.core import config
from alif_kit.core.errors import StoppedError
from alif_kit.core.records import SeedTask, write_jsonl
from alif_kit.core.run import Run
from alif_kit.corpus.blocks import document_end
from alif_kit.languages import pack
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends
from alif_kit.training import callback, trainer

pytestmark = pytest.mark.slow

FITTED = {"gemma3, fitted": 0, "llama, fitted": 512}
"""Those whose vocabulary is fitted to 16,384 rows first, with so many new pieces at most."""
ON_A_CARD = "gemma3_sees, as a card's loader returns it"
SYSTEM = "آپ مختصر جواب دیتے ہیں۔"
TURNS = ["سلام", "وعلیکم السلام!", "پاکستان کا دارالحکومت؟", "اسلام آباد", "What is 2 + 2?", "4"]
SETTINGS = {
    "base.chat_format": "native",
    "base.max_seq_length": 128,
    "lora.rank": 4,
    "lora.train_vocab": "rows",
    "mixture.system": SYSTEM,
    "pretrain.batch_size": 2,
    "pretrain.max_steps": 4,
    "pretrain.save_steps": 2,
    "finetune.batch_size": 2,
    "finetune.max_steps": 4,
    "finetune.save_steps": 2,
    "evaluation.max_examples": 1,
    "evaluation.max_new_tokens": 2,
}


@pytest.fixture(scope="module", params=[*FITTED, ON_A_CARD, "qwen3", "mistral"])
def walked(request, tmp_path_factory):
    """A run of the architecture that was stopped in both stages of training and went on, evaluated and merged."""
    place = tmp_path_factory.mktemp("walk")
    name = request.param.split(",")[0]
    base = tiny_model(name, place / "base")
    if request.param in FITTED:
        base = fitted(base, place / "fitted", FITTED[request.param])
    more = place / "turns.jsonl"
    write_jsonl(more, [{"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(TURNS)]}])
    run = Run.open(
        place / "run", config.load("smoke", SETTINGS | {"base.model": str(base), "mixture.sources": {"own": 0, str(more): 0}})
    )
    tasks = [task for tasks in pack.seeds("ur").values() for task in tasks[:3]]
    write_jsonl(run.file("data", "train.jsonl"), tasks)
    write_jsonl(run.file("data", "eval.jsonl"), [SeedTask("qa", "پانی کا فارمولا کیا ہے؟", "H2O")])
    with pytest.MonkeyPatch.context() as patch:
        if request.param == ON_A_CARD:
            load_as_a_card_does(patch, base)
        for stage in (trainer.pretrain, trainer.finetune):
            with stopped_at_step(2), pytest.raises(StoppedError):
                stage(run)
            stage(run)
        pipeline.evaluate(run)
        pipeline.merge(run)
        yield name, run


def load_as_a_card_does(patch, base):
    """A processor instead of a tokenizer, and weights in 16 bit: what Unsloth's CUDA loader hands back of gemma-3-4b."""
    import torch
    from transformers import AutoProcessor

    loader = seam.prepare().FastLanguageModel
    real = loader.from_pretrained

    def from_pretrained(path, **options):
        model, tokenizer = real(path, **{**options, "dtype": torch.bfloat16})
        processor = AutoProcessor.from_pretrained(path if (base.parent / path).exists() else base)
        processor.tokenizer = tokenizer
        return model, processor

    patch.setattr(loader, "from_pretrained", from_pretrained)


@contextlib.contextmanager
def stopped_at_step(number):
    """The session ends after so many steps."""
    real = callback.Watch.step_done

    def step_done(self):
        real(self)
        if len(self.steps) == number:
            self.reason = "the test"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callback.Watch, "step_done", step_done)
        yield


def test_both_stages_went_on_from_their_checkpoint_and_trained(walked):
    _, run = walked
    for stage in ("pretrain", "finetune"):
        lines = run.file(stage, "metrics.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
        assert json.loads(run.file(stage, "summary.json").read_text())["trained_vocabulary_matrices"] >= 1
        assert moved(run.file(stage, "adapter")) == 1.0
        assert ends_of(run) <= rows_of(run.file(stage, "adapter"))


def ends_of(run):
    """What ends a document and what ends an answer."""
    tokenizer = seam.load(run.config.base, run.config.base.model).tokenizer
    return {document_end(tokenizer), *answer_ends(tokenizer, "native")}


def rows_of(adapter):
    """The rows of the vocabulary that were trained."""
    return set(json.loads((adapter / "adapter_config.json").read_text())["trainable_token_indices"]["embed_tokens"])


def moved(adapter):
    """The share of LoRA's B matrices, which begin at nought, that are not nought any more."""
    from safetensors.torch import load_file

    tensors = [tensor for name, tensor in load_file(adapter / "adapter_model.safetensors").items() if "lora_B" in name]
    return sum(bool(tensor.any()) for tensor in tensors) / len(tensors)


def test_it_is_evaluated_beside_its_base(walked):
    _, run = walked
    measures = {m["key"]: m["values"] for m in json.loads(run.file("evaluation", "results.json").read_text())["measures"]}
    for key in ("bits_per_byte_ur", "bits_per_byte_en", "response_loss", "knowledge_ur", "stops_by_itself"):
        assert set(measures[key]) == {"base", "pretrain", "finetune"}
    urdu = {subject: value["value"] for subject, value in measures["bits_per_byte_ur"].items()}
    assert len(set(urdu.values())) == 3 and all(0 < value < 20 for value in urdu.values())


def test_the_merged_model_stands_alone_with_all_that_the_base_had(walked):
    name, run = walked
    merged, made = run.file("release", "merged"), json.loads(run.file("release", "merged", "merge.json").read_text())
    assert made["logits_compared"] and made["same_top_token"] > 0.95
    assert json.loads((merged / "config.json").read_text())["architectures"] == [ARCHITECTURES[name][0]]
    assert (merged / "processor_config.json").is_file() == (name == "gemma3_sees")
    loaded = seam.load(run.config.base, merged)
    ends = loaded.model.generation_config.eos_token_id
    assert answer_ends(loaded.tokenizer, "native") <= set(ends if isinstance(ends, list) else [ends])


def test_llama_cpp_cuts_two_hundred_texts_of_its_gguf_as_the_tokenizer_does(walked):
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: it comes with the extra `llama`")
    name, run = walked
    found = next(iter(pipeline.gguf(run, ["f16"]).values()))
    assert found["texts"] > 200 and found["template_is_the_models"] and found["ends_known"]
    # llama.cpp cuts فوراً before its tanwin, Nemo does not. Answers of random weights hang on the last bit, and are not compared here.
    assert (found["same_tokens"] == found["texts"]) == (name != "mistral")
