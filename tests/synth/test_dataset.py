"""dataset: the split leaks nothing, reviewers are heeded, libraries open what is written, the Hub gets it in one commit."""

import base64
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import Example, Provenance, SeedTask, read_jsonl, write_json, write_jsonl
from alif_kit.core.run import Run
from alif_kit.synth import dataset
from alif_kit.synth.review import decisions
from alif_kit.synth.split import near_training, split

PAIR = ("ہسپتال جانے والی سڑک بارش کے بعد آج بھی بند ہے۔", "The road to the hospital is still closed after the rain.")
NAMES = [
    "مریم",
    "خالد",
    "سلمان",
    "نادیہ",
    "بشیر",
    "ثمینہ",
    "یوسف",
    "رابعہ",
    "کامران",
    "فریحہ",
    "عدنان",
    "شازیہ",
    "طارق",
    "نوشین",
    "حامد",
    "زرینہ",
]


def example(category="qa", number=0, **changes):
    a, b = NAMES[number % 16], NAMES[(number * 7 + 3) % 16]
    values = {
        "instruction": f"{a} {number} نے {b} سے کیا پوچھا؟",
        "output": f"{b} کا بھائی {number} {a} کے شہر گیا تھا۔",
        **changes,
    }
    return Example(category, provenance=Provenance("t", number, 1, "h", scores={"nearest_rouge_l": 0.25}), **values)


def translation(source, text, answer, number):
    meta = {"asked_in": "ur", "source": source, "target": "en" if source == "ur" else "ur"}
    return example("translation", number, instruction=f"ترجمہ کیجیے {number}", input=text, output=answer, meta=meta)


@pytest.fixture
def run(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    pool = [example(number=n) for n in range(12)]
    write_jsonl(run.file("synth", "pool.jsonl"), pool)
    funnel = {"requests": 2, "candidates": 15, "accepted": 12, "reasons": {"accepted": 12, "not_novel": 3}}
    write_json(run.file("synth", "funnel.json"), funnel)
    return run


def test_a_sentence_translated_back_does_not_cross_the_split():
    there, back = translation("ur", *PAIR, 1), translation("en", *reversed(PAIR), 2)
    assert near_training([there], [back], 0.7) == {back.id}
    assert near_training([there], [example()], 0.7) == set()


def test_what_is_near_a_moved_example_moves_too():
    text = ["ایک", "دو", "تین", "چار", "پانچ", "چھ", "سات", "آٹھ", "نو", "دس"]
    chain = [example(number=i, input=" ".join(text[i : i + 8])) for i in range(3)]
    near = near_training([chain[0]], [chain[2], chain[1]], 0.8)
    assert near == {chain[1].id, chain[2].id}  # 0-1 and 1-2 share 7 of 8, 0-2 only 6 of 8


def test_what_is_near_a_seed_is_not_held_out():
    rows = [translation("ur", f"{name} کل صبح سویرے بازار گیا تھا", f"{name} went early", n) for n, name in enumerate(NAMES[:6])]
    held = split(rows, 0.2, seed=1, threshold=0.95)[1]
    seed = SeedTask("translation", "ترجمہ کریں", held[0].input, input="a sentence of four words")
    assert held and split(rows, 0.2, seed=1, threshold=0.95, seeds=[seed])[1] == held[1:]


def test_labels_may_stand_on_both_sides():
    rows = [
        example(
            "sentiment", n, input=f"{NAMES[n]} کی دکان {NAMES[n + 1]} سے {n} گنا دور تھی", labels=("مثبت", "منفی"), output="منفی"
        )
        for n in range(10)
    ]
    train, held = split(rows, 0.3, seed=1)
    assert (len(train), len(held)) == (7, 3)


def test_reviewers_are_heeded(run):
    pool = decisions.read_pool(run)
    base = {"reviewer": "a", "note": "", "edit": None}
    edit = {"instruction": "مریم نے بتایا کہ دریا کہاں گرتا ہے؟"}
    rows = [
        {**base, "id": pool[0].id, "decision": "reject"},
        {**base, "id": pool[1].id, "decision": "edit", "edit": edit},
        {**base, "id": pool[2].id, "decision": "accept"},
    ]
    write_jsonl(run.file("synth", "review.jsonl"), rows)
    dataset.finish(run)
    made = [e for side in ("train", "eval") for e in read_jsonl(run.file("data", f"{side}.jsonl"), Example)]
    assert len(made) == 11 and pool[0].id not in {e.id for e in made}
    assert [e.instruction for e in made if e.provenance.review == "edited"] == [edit["instruction"]]
    assert "accepted 1, edited 1, unreviewed 9" in run.file("data", "card.md").read_text()


def test_the_library_opens_the_folder_that_goes_to_the_hub(run, tmp_path):
    from datasets import load_dataset

    counts = dataset.finish(run)
    opened = load_dataset(str(run.file("data", "hub")), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in opened.items()} == {"train": counts["train"]["qa"], "test": counts["eval"]["qa"]}
    row = opened["train"][0]
    assert json.loads(row["scores"]) == {"nearest_rouge_l": 0.25} and row["teacher"] == "t" and row["labels"] == []
    files = {"train": str(run.file("data", "train.jsonl"))}
    plain = load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert plain["train"][0]["id"] == row["id"]


def test_a_run_that_was_trained_keeps_its_data(run):
    dataset.finish(run)
    with run.stage("finetune"):
        pass
    dataset.finish(run)  # the same data: nothing to refuse
    pool = decisions.read_pool(run)
    write_jsonl(run.file("synth", "pool.jsonl"), [*pool, example(number=40)])
    before = run.file("data", "train.jsonl").read_bytes()
    with pytest.raises(UserError, match="was fine-tuned on"):
        dataset.finish(run)
    assert run.file("data", "train.jsonl").read_bytes() == before


def test_the_card_counts_words_and_says_what_was_not_checked(run):
    dataset.finish(run)
    page = run.file("data", "card.md").read_text()
    assert "| qa | 10 | 2 | 7.0 | – | 9.0 |" in page
    assert "Not checked against public evaluation sets" in page and 'size_categories: ["n<1K"]' in page
    assert "Of 15 candidates in 2 requests, 12 were accepted" in page


class Hub:
    """As much of the Hub as one commit of small files needs."""

    def __init__(self):
        self.created, self.files, self.refuse, hub = [], {}, 0, self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if hub.refuse:
                    return self.send(hub.refuse, {"error": f"no rights for {self.headers['Authorization']}"})
                return self.send(200, hub.answer(self.path, data))

            def send(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = lambda self: self.send(200, {"id": "me/urdu", "sha": "0" * 40, "siblings": []})

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, data):
        if path == "/api/repos/create":
            self.created.append(json.loads(data))
            return {"url": f"{self.url}/datasets/me/urdu", "name": "me/urdu"}
        if "/preupload/" in path:
            return {
                "files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(data)["files"]]
            }
        if "/commit/" in path:
            for line in map(json.loads, data.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"{self.url}/datasets/me/urdu/commit/0", "commitOid": "0" * 40, "success": True}
        return {}


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    server, real = Hub(), huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: real(endpoint=server.url, token=token))
    yield server
    server.server.shutdown()


def test_one_commit_takes_card_and_parquet_to_a_private_repository(run, hub):
    dataset.finish(run)
    assert dataset.push(run, "me/urdu", "hf_canary") == f"{hub.url}/datasets/me/urdu"
    assert (
        hub.created[0].get("visibility", hub.created[0].get("private")) in ("private", True) and hub.created[0]["type"] == "dataset"
    )
    assert set(hub.files) == {"README.md", "train.parquet", "test.parquet"}
    assert hub.files["train.parquet"] == run.file("data", "hub", "train.parquet").read_bytes()


def test_a_refusal_is_a_sentence_without_the_token(run, hub):
    dataset.finish(run)
    hub.refuse = 403
    with pytest.raises(StoppedError, match="the Hub refused me/urdu") as caught:
        dataset.push(run, "me/urdu", "hf_canary")
    assert "hf_canary" not in str(caught.value)
    with pytest.raises(UserError, match="expected OWNER/NAME"):
        dataset.push(run, "urdu", "hf_canary")


def test_judging_anew_takes_judging_fields_only(run):
    other = replace(run.config, synth=replace(run.config.synth, novelty_threshold=0.5))
    assert run.judge_anew(other).config.synth.novelty_threshold == 0.5
    assert Run.resume(run.path).config == other
    with pytest.raises(UserError, match="seed cannot change"):
        run.judge_anew(replace(run.config, seed=1))
