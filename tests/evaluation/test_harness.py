"""lm-evaluation-harness: our tasks on local data, and a shared prefix that changes no number."""

import json

import pytest

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.evaluation import harness, metrics, shared_prefix
from alif_kit.evaluation.generate import text_nll
from alif_kit.model import unsloth as seam
from alif_kit.model import without_hub

ROWS = [
    {
        "id": n,
        "question": f"\u200fسوال نمبر {n}: کون سا شہر؟",
        "options": {"A": "لاہور شہر", "B": "کراچی", "C": "پشاور اور مردان", "D": f"کوئٹہ {n}"},
        "correct_key": "ABCD"[n % 4],
        "domain": "شہر",
    }
    for n in range(5)
]


@pytest.fixture(scope="module")
def tiny():
    base = config.load("smoke").base
    return seam.load(base, without_hub.resolve("tiny", "ur", 3407))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(ROWS, ensure_ascii=False), "utf-8")
    return path


def both_ways(loaded, requests, batch_size=4):
    """Scores of lm-eval's own class and of ours."""
    from lm_eval.models.huggingface import HFLM

    stock = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size, max_length=512)
    ours = shared_prefix.language_model(loaded, "native", batch_size=batch_size, max_length=512)
    expected, found = stock._loglikelihood_tokens(requests, True), ours._loglikelihood_tokens(requests, True)
    return expected, found, ours


def requests_of(loaded, contexts, options):
    encode = lambda text: loaded.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    return [((c, o), encode(c), encode(o)) for c in contexts for o in options]


def test_shared_prefixes_change_no_score(tiny):
    options = ["لاہور", "کراچی شہر", "a", "پشاور اور مردان کے درمیان"]
    requests = requests_of(tiny, ["کون سا شہر؟ ", "The river runs ", "x"], options)
    expected, found, ours = both_ways(tiny, requests)
    assert ours.shares is True
    assert [f[0] for f in found] == pytest.approx([e[0] for e in expected], abs=1e-4)
    assert [f[1] for f in found] == [e[1] for e in expected]


def test_options_of_one_token_and_lone_options_and_long_contexts(tiny):
    requests = requests_of(tiny, ["شہر "], ["a", "b"]) + requests_of(tiny, ["تنہا "], ["لاہور"])
    requests += requests_of(tiny, ["لمبا متن " * 200], ["لاہور شہر", "کراچی"])
    expected, found, _ = both_ways(tiny, requests)
    assert [f[0] for f in found] == pytest.approx([e[0] for e in expected], abs=1e-4)


def test_greedy_is_told_from_the_shared_prefix_too(tiny):
    import torch

    context = tiny.tokenizer("The river carries", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        best = tiny.model.generate(torch.tensor([context]), max_new_tokens=3, do_sample=False)[0, len(context) :].tolist()
    requests = [(("c", "o"), context, best), (("c", "o"), context, [*best[:2], (best[2] + 1) % 100])]
    _, found, _ = both_ways(tiny, requests)
    assert [is_greedy for _, is_greedy in found] == [True, False]


def test_a_cache_that_cannot_be_shared_falls_back(tiny, monkeypatch):
    def broken(*_):
        raise RuntimeError("one token at a time")

    monkeypatch.setattr(shared_prefix, "score_options", broken)
    requests = requests_of(tiny, ["کون سا شہر؟ "], ["لاہور", "کراچی"])
    expected, found, ours = both_ways(tiny, requests)
    assert ours.shares is False and found == expected
    monkeypatch.setattr(shared_prefix, "score_options", lambda *_: [(0.0, True)] * 2)
    _, found, ours = both_ways(tiny, requests)
    assert ours.shares is False and found == expected


@pytest.mark.parametrize(
    "task, scores", [("urdu_mmlu_cloze", {"acc", "acc_norm"}), ("urdu_mmlu_ur_letter", {"acc"}), ("urdu_mmlu_en_letter", {"acc"})]
)
def test_our_tasks_run_on_a_local_file(tiny, data, task, scores):
    found = harness.run_tasks(tiny, [harness.local_task(task, data)], chat_format="native")[task]
    assert [r["id"] for r in found] == ["0", "1", "2", "3", "4"]
    assert {frozenset(r["scores"]) for r in found} == {frozenset(scores)}
    assert all(r["group"] == "شہر" and "\u200f" not in r["prompt"] and r["prompt"].startswith("<|bos|><|user|>") for r in found)
    assert ("A) " in found[0]["prompt"]) == task.endswith("letter")


def test_the_plain_frame_is_used_where_it_is_asked_for(tiny, data):
    found = harness.run_tasks(tiny, [harness.local_task("urdu_mmlu_cloze", data)], chat_format="alpaca", system="سلام۔", limit=1)
    prompt = found["urdu_mmlu_cloze"][0]["prompt"]
    assert "### ہدایت:" in prompt and "سلام۔" in prompt and len(found["urdu_mmlu_cloze"]) == 1


def test_bits_per_byte_is_the_kits_own(tiny, tmp_path):
    text = "دریا پہاڑوں سے مٹی لاتا ہے۔ The river carries silt."
    path = tmp_path / "documents.json"
    path.write_text(json.dumps([{"text": text}], ensure_ascii=False), "utf-8")
    (row,) = harness.run_tasks(tiny, [harness.local_task("alif_bits_per_byte", path)], chat_format="native")["alif_bits_per_byte"]
    own = metrics.bits_per_byte(text_nll(tiny, text, 512), len(text.encode()))
    assert row["scores"]["bits_per_byte"] == pytest.approx(own, rel=1e-4)


def test_every_listed_task_is_known_to_lm_eval():
    known = set(harness._manager().all_tasks)
    for name in ("urdu", "retention"):
        listed = harness.task_list(name)
        assert set(listed) <= known and all(entry["metric"] and entry["why"] for entry in listed.values())
    assert {"urdu_mmlu", "urdu_mmlu_cloze", "alif_bits_per_byte"} <= known


def test_an_unknown_task_and_data_that_is_not_there_are_one_sentence(tiny, tmp_path):
    with pytest.raises(UserError, match="lm-eval cannot run nonsense"):
        harness.run_tasks(tiny, ["nonsense"], chat_format="native")
    with pytest.raises(UserError, match="lm-eval cannot run urdu_mmlu_cloze"):
        harness.run_tasks(tiny, [harness.local_task("urdu_mmlu_cloze", tmp_path / "absent.json")], chat_format="native")


def test_without_lm_eval_it_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"pip install 'alif-kit\[eval\]'"):
        harness.run_tasks(tiny, ["urdu_mmlu_cloze"], chat_format="native")


def test_without_the_hub_a_public_task_is_refused_at_once_and_nothing_else(monkeypatch, tiny):
    """While it runs, the Hub's libraries are told that they are offline; afterwards a push or a mirror may try again."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(harness.machine, "has_internet", lambda host: False)
    with pytest.raises(UserError, match=r"lm-eval cannot run belebele_urd_Arab .*its data comes from the Hub"):
        harness.run_tasks(tiny, ["belebele_urd_Arab"], chat_format="native", limit=1)
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE
    with harness._patience("belebele_urd_Arab"):
        assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE
    with harness._patience("evaluation/urdu_mmlu.yaml"):
        assert not constants.HF_HUB_OFFLINE
