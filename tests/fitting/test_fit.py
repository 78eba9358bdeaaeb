"""`alif fit` on tiny models with real tokenizers: the kept rows give the same logits, ids are renumbered everywhere, refusals."""

import json

import pytest
from tiny_models import tiny_model

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.run import Run
from alif_kit.fitting import make as fitting
from alif_kit.model import checkpoint, merging
from alif_kit.model import unsloth as seam
from alif_kit.model.chat_format import answer_ends
from alif_kit.release import weights

ROWS, ADDED = 16384, 512
SENTENCES = ("پاکستان کا دارالحکومت اسلام آباد ہے۔", "The river carries silt from the mountains.", "سلام! 12 × 12 = 144 😀")


SHARDS = "llama, untied, in shards"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gemma3_sees", "gemma3", "mistral")]


@pytest.fixture(scope="module", params=["qwen3", SHARDS, *SLOW])
def pair(request, tmp_path_factory):
    """Name, base, and the base fitted, with some new pieces but for Gemma, which has them."""
    place = tmp_path_factory.mktemp("fit")
    base = tiny_model(request.param.split(",")[0], place / "base", dtype="float32")
    add = 0 if "gemma" in request.param else ADDED
    if request.param == SHARDS:
        in_shards(base)
    about = fitting.fit(str(base), ["ur", "en"], place / "fitted", rows=ROWS, coverage=1.0, add=add, more={})
    return request.param, base, place / "fitted", about


def in_shards(folder):
    """The model of the folder with a head of its own, other than the embeddings, in several files."""
    import torch

    model = loaded(folder)[0]
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20MB")
    assert len([*folder.glob("*.safetensors")]) > 2 and "lm_head.weight" in checkpoint.headers(folder)


def loaded(folder):
    seam.prepare()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

    sees = "vision_config" in json.loads((folder / "config.json").read_text())
    model = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder).get_text_config()


def test_kept_rows_give_the_logits_of_the_whole_base_and_new_ones_are_means(pair):
    import torch

    name, base, folder, about = pair
    (whole, _, _), (model, tokenizer, text) = loaded(base), loaded(folder)
    said = json.loads((base / "tokenizer.json").read_text())
    old_ids = {token["content"]: token["id"] for token in said["added_tokens"]} | said["model"]["vocab"]
    pieces = tokenizer.convert_ids_to_tokens([*range(about["rows"])])
    kept = [number for number, piece in enumerate(pieces) if piece in old_ids]
    old = torch.tensor([old_ids.get(piece, -1) for piece in pieces])
    beyond = max(len(loaded(base)[1]) - about["rows_before"], 0)  # Gemma's <image_soft_token>, where the base sees nothing
    assert text.vocab_size == about["rows"] == len(tokenizer) - beyond == model.get_input_embeddings().weight.shape[0]
    assert len(kept) == about["rows"] - about["added"] and about["added"] == (
        0 if "gemma" in name else pytest.approx(ADDED, abs=63)
    )
    for sentence in SENTENCES:
        ids = torch.tensor([[i for i in tokenizer(sentence)["input_ids"] if old[i] >= 0]])
        with torch.no_grad():
            ours, theirs = model(input_ids=ids).logits[..., kept], whole(input_ids=old[ids]).logits[..., old[kept]]
        assert (ours - theirs).abs().max() < 1e-5
    before, rows = loaded(base)[1], whole.get_input_embeddings().weight
    for number in [number for number in range(about["rows"]) if old[number] < 0][:20]:
        parts = before(tokenizer.decode([number]), add_special_tokens=False)["input_ids"]
        assert (model.get_input_embeddings().weight[number] - rows[parts].mean(0)).abs().max() < 1e-6


def test_ids_are_renumbered_wherever_they_stand(pair):
    name, base, folder, _ = pair
    (_, before, whole), (_, after, text) = loaded(base), loaded(folder)
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        old, new = getattr(whole, field, None), getattr(text, field, None)
        assert (old is None) == (new is None)
        if old is not None:
            assert before.convert_ids_to_tokens(old) == after.convert_ids_to_tokens(new), field
    ends = [{names.decode([i]) for i in answer_ends(names, "native")} for names in (before, after)]
    assert ends[0] == ends[1]
    chat = [{"role": "user", "content": "سلام"}, {"role": "assistant", "content": "وعلیکم السلام!"}]
    assert before.apply_chat_template(chat, tokenize=False) == after.apply_chat_template(chat, tokenize=False)
    assert (folder / "tokenizer.model").is_file() is ("gemma" in name)
    if name == "gemma3_sees":
        said = json.loads((folder / "config.json").read_text())
        image = said.get("image_token_id", said.get("image_token_index"))
        assert after.convert_ids_to_tokens(image) == "<image_soft_token>" and image < text.vocab_size
        assert (folder / "preprocessor_config.json").is_file() or (folder / "processor_config.json").is_file()


def test_the_card_says_base_languages_and_what_is_left(pair):
    name, base, folder, about = pair
    text = (folder / "README.md").read_text()
    assert "fitted to ur, en" in text and f"{about['rows']:,} of {about['rows_before']:,} rows" in text
    assert json.loads((folder / "fit.json").read_text()) == about
    assert about["parameters"] == sum(t.count for t in checkpoint.headers(folder).values()) < about["parameters_before"]
    assert set(about["sources"]) == {"ur", "en", "code"} and about["sources"]["ur"]["covered"] > 0.99


def test_an_adapter_belongs_to_the_vocabulary_that_it_was_trained_on(pair, tmp_path):
    import shutil

    name, base, folder, _ = pair
    settings = config.load("smoke", {"base.load_in_4bit": False, "lora.rank": 4, "lora.train_vocab": "none"})
    fresh = seam.load(settings.base, base)
    seam.attach(fresh, settings)
    adapter = tmp_path / "adapter"
    seam.save(fresh, adapter)
    with pytest.raises(UserError, match=r"was trained on another vocabulary than .*fitted has \(fit.json\); name its own base"):
        weights.check_adapter(adapter, folder)
    with pytest.raises(UserError, match="was trained on another vocabulary"):
        seam.load(settings.base, folder, adapter)  # as evaluation does
    shutil.copy(folder / "fit.json", adapter)
    weights.check_adapter(adapter, folder)
    with pytest.raises(UserError, match="was trained on another vocabulary"):
        weights.check_adapter(adapter, base)


def test_what_cannot_be_fitted_is_said_and_nothing_is_left(pair, tmp_path):
    _, base, folder, _ = pair
    options = {"rows": 0, "coverage": 1.0, "add": 0, "more": {}}
    with pytest.raises(UserError, match="is a file, or not empty, or"):
        fitting.fit(str(base), ["ur"], folder, **options)
    with pytest.raises(UserError, match="language is 'xx'; expected one of"):
        fitting.fit(str(base), ["xx"], tmp_path / "x", **options)
    with pytest.raises(UserError, match="names no language pack"):
        fitting.fit(str(base), ["en"], tmp_path / "x", **options)
    with pytest.raises(UserError, match="leaves no room"):
        fitting.fit(str(base), ["ur"], tmp_path / "x", **options | {"rows": 64})
    with pytest.raises(UserError, match="has no corpus yet"):
        fitting.of_run(Run.open(tmp_path / "run", config.load("smoke")).path, ["ur"])
    with pytest.raises(UserError, match="run is of ur, which --languages pnb,en leaves out; name it there"):
        fitting.of_run(tmp_path / "run", ["pnb", "en"])
    assert not (tmp_path / "x").exists()


def test_a_quantised_base_is_refused(pair, tmp_path):
    import shutil

    base = shutil.copytree(pair[1], tmp_path / "base")
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(said | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(UserError, match="is quantised already"):
        fitting.fit(str(base), ["ur"], tmp_path / "x", rows=0, coverage=1.0, add=0, more={})


def test_a_merge_on_a_fitted_base_is_fitted_too(pair, tmp_path):
    import shutil

    name, _, folder, _ = pair
    settings = config.load("smoke", {"base.load_in_4bit": False, "lora.rank": 4, "lora.train_vocab": "none"})
    fresh = seam.load(settings.base, folder)
    seam.attach(fresh, settings)
    seam.save(fresh, tmp_path / "adapter")
    shutil.copy(folder / "fit.json", tmp_path / "adapter")
    merging.merge(checkpoint.look(str(folder)), tmp_path / "adapter", tmp_path / "merged", "native", lambda *_: None)
    for file in ("fit.json", *(["tokenizer.model"] if "gemma" in name else [])):
        assert (tmp_path / "merged" / file).read_bytes() == (folder / file).read_bytes()


def test_a_run_fits_its_base_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIF_CACHE", str(tmp_path / "cache"))
    base = tiny_model("qwen3", tmp_path / "base")
    settings = config.load("smoke", {"base.model": str(base), "base.fit_rows": ROWS})
    folder = fitting.base_path(settings)
    made = json.loads((tmp_path / "cache" / folder / "fit.json").read_text())
    # An adapter of the run goes onto what `alif fit --rows` makes, for fit.json is the same.
    assert made == fitting.fit(str(base), ["ur", "en"], tmp_path / "own", rows=ROWS, coverage=0.9999, add=0, more={})
    monkeypatch.setattr(fitting, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert fitting.base_path(settings) == folder
    assert fitting.base_path(config.load("smoke", {"base.model": str(base)})) == str(base)
    again = config.load("smoke", {"base.model": folder, "base.fit_rows": ROWS})
    assert fitting.base_path(again) == folder  # as an adapter of the run names it


def test_rows_that_the_alphabets_do_not_fill_go_to_any_piece(tmp_path):
    base = tiny_model("qwen3", tmp_path / "base")
    assert fitting.fit(str(base), ["ur"], tmp_path / "x", rows=ROWS, coverage=1.0, add=0, more={})["rows"] == ROWS
