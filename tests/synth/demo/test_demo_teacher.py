"""The embedded teacher: correct tasks, enough of them that differ, the protocol, and the faults it was told to have."""

import json
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import PATIENCE

from alif_kit.core.records import CATEGORIES
from alif_kit.synth.demo import teacher as demo_teacher
from alif_kit.synth.demo.compose import LABELLED, Scope, compose, evaluate, lexicon, render
from alif_kit.synth.demo.teacher import BadRequest, DemoTeacher, Faults, answer

LEXICON = Path(demo_teacher.__file__).parents[2] / "languages/ur/lexicon"
SENTIMENT = ["مثبت", "منفی", "غیر جانبدار", "ملا جلا"]
NAMES = {"qa": "سوال جواب", "reasoning": "استدلال", "sentiment": "جذبات کا تجزیہ", "translation": "ترجمہ"}
PAPER = {
    "translation": 10001,
    "reasoning": 9590,
    "ethics": 9002,
    "qa": 8177,
    "generation": 5907,
    "classification": 4662,
    "sentiment": 4347,
}


def request(category="qa", count=3, mark="", **more):
    prompt = f"نئے کام بنائیں۔ {mark}\nقسم: {NAMES.get(category, category)} ({category})\nتعداد: {count}\n"
    messages = [{"role": "system", "content": "آپ استاد ہیں۔"}, {"role": "user", "content": prompt}]
    return {"model": "any", "messages": messages, **more}


def text_of(body):
    return body["choices"][0]["message"]["content"]


def many(category, count=400):
    return [task for n in range(count // 20) for task in compose(category, 20, random.Random(n))]


def post(teacher, body, path="/v1/chat/completions"):
    address = urlsplit(teacher.base_url)
    connection = HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def get(teacher, path):
    address = urlsplit(teacher.base_url)
    connection = HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


# What it composes


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_task_is_whole_and_no_template_mark_is_left(category):
    for task in many(category):
        assert task["instruction"] and task["output"] and task["category"] == category
        text = task["instruction"] + task["input"] + task["output"]
        assert not re.search(r"[{}\[\]|]|  | [۔،؟]", text), text
        assert not re.search("[يكهىة]", text), text
        assert ("labels" in task) == (category in LABELLED)


def test_every_template_can_be_filled():
    for category in CATEGORIES:
        book = lexicon("ur", category)
        for kind in book["kinds"]:
            for variant in kind.get("variants") or book["shared"].get("variants") or [{}]:
                spec = {**book["shared"], **kind, **variant}
                scope = Scope(spec, random.Random(1), lexicon("ur", "words"))
                for value in spec.values():
                    for text in value if isinstance(value, list) else [value]:
                        forms = text.values() if isinstance(text, dict) else [text]
                        for form in forms:
                            assert scope.expand(str(form)) is not None


def test_arithmetic_of_reasoning_comes_out():
    checked = 0
    for task in many("reasoning", 800):
        lines = task["output"].splitlines()
        assert lines[0] == "استدلال:" and 4 <= len(lines) <= 7
        assert lines[-1] == f"جواب: {task['meta']['answer']}"
        if "check" in task["meta"]:
            assert re.fullmatch(r"[0-9+*/%() -]+", task["meta"]["check"])
            assert evaluate(task["meta"]["check"]) == int(task["meta"]["answer"])
            checked += 1
        for left, right in re.findall(r"((?:\d+ [+×÷-] )+\d+) = (\d+)", task["output"]):
            value = left.replace("×", "*").replace("÷", "//").replace(" ", "")
            assert evaluate(value) == int(right), task["output"]
            if "//" in value:
                product, divisor = value.rsplit("//", 1)
                assert evaluate(product) % int(divisor) == 0, task["output"]
    assert checked >= 0.75 * 800
    assert len(lexicon("ur", "reasoning")["kinds"]) >= 20


def test_evaluate_knows_arithmetic_and_nothing_else():
    assert evaluate("a * 2 + 1", {"a": 3}) == 7
    assert evaluate("(45-28)%7 // 2") == 1
    assert evaluate("1 < a < 3", {"a": 2}) and not evaluate("a > 1 and a < 2", {"a": 2})
    for bad in ("__import__('os')", "a.b", "f(1)", "'x'"):
        with pytest.raises(ValueError, match="not whole-number arithmetic"):
            evaluate(bad, {"a": 1})


def test_labels_are_named_balanced_and_right():
    answers = Counter()
    for task in many("sentiment"):
        assert task["labels"] == SENTIMENT and task["output"] in SENTIMENT
        assert all(label in task["instruction"] for label in SENTIMENT)
        answers[task["output"]] += 1
    assert set(answers.values()) == {100}
    sets = set()
    for task in many("classification"):
        assert task["output"] in task["labels"] and all(label in task["instruction"] for label in task["labels"])
        sets.add(tuple(task["labels"]))
    assert len(sets) >= 8


def test_translations_come_in_four_combinations():
    combinations = Counter()
    for task in many("translation"):
        meta = task["meta"]
        english = {
            side: bool(re.search("[a-zA-Z]", task[field]))
            for side, field in (("asked_in", "instruction"), ("source", "input"), ("target", "output"))
        }
        assert english == {side: meta[side] == "en" for side in english}
        combinations[tuple(meta.values())] += 1
    assert len(combinations) == 4 and max(combinations.values()) < 1.1 * min(combinations.values())


def test_there_are_facts_and_harms_enough():
    assert len(lexicon("ur", "qa")["kinds"]) >= 90
    assert len({kind["harm"] for kind in lexicon("ur", "ethics")["kinds"]}) >= 12
    answers = [kind["a"] for kind in lexicon("ur", "qa")["kinds"] if "a" in kind]
    assert len(set(answers)) == len(answers)


def test_words_agree_with_the_gender_they_stand_for():
    words = {"person": [{"n": "سارہ", "g": "f"}], "item": [{"n": "کمبل", "g": "m", "o": "کمبل"}]}
    scope = Scope(words, random.Random(0), {})
    assert scope.expand("{person} آ{person:یا/ئی} اور {item.o} بک {item:گیا/گئی}") == "سارہ آئی اور کمبل بک گیا"


def test_a_second_name_is_another_entry_and_a_name_keeps_its_entry():
    for seed in range(20):
        one, two, again = Scope({"city": ["ا", "ب"]}, random.Random(seed), {}).expand("{city} {city2} {city}").split()
        assert one == again != two


def test_lexicon_is_urdu_in_its_own_letters():
    allowed = re.compile(r"[\u0600-\u06ff“”\s\x00-\x7f×÷]*")
    for path in LEXICON.glob("*.json"):
        text = path.read_text("utf-8")
        if path.name == "speech.json":
            text = json.dumps({k: v for k, v in json.loads(text).items() if k != "foreign"}, ensure_ascii=False)
        assert allowed.fullmatch(text), set(allowed.sub("", text))
        assert not re.search("[يكهىة]", text), path


def test_python_holds_no_urdu_sentence():
    for name in ("demo/teacher.py", "demo/compose.py"):
        source = (LEXICON.parents[2] / "synth" / name).read_text("utf-8")
        code = re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
        assert not re.search("[\u0620-\u06d3]", code)


# Whether it lasts


def build(total, seed):
    """Kept and composed while filling the paper's proportions under the novelty rule of synth, judged by hand here."""
    from rapidfuzz.distance import LCSseq

    targets = {c: round(total * n / sum(PAPER.values())) for c, n in PAPER.items()}
    kept, payloads, wholes, composed = Counter(), [], [], 0
    for number in range(1000):
        category = max(targets, key=lambda c: 1 - kept[c] / targets[c])
        if kept[category] >= targets[category]:
            break
        for task in compose(category, 20, random.Random(f"{seed}-{number}")):
            composed += 1
            payload = re.findall(r"\w+", task["input"])
            place = payloads if len(payload) >= 4 else wholes
            words = payload if place is payloads else re.findall(r"\w+", task["instruction"]) + payload
            if kept[category] >= targets[category]:
                continue
            if all(2 * LCSseq.similarity(words, other) <= 0.7 * (len(words) + len(other)) for other in place):
                place.append(words)
                kept[category] += 1
    return sum(kept.values()), composed


def test_four_hundred_examples_at_a_yield_above_half():
    kept, composed = build(400, seed="a")
    assert kept == 400 and kept / composed > 0.5


@pytest.mark.parametrize("seed", ["a", "b"])
def test_a_thousand_examples_from_under_four_thousand_composed(seed):
    kept, composed = build(1000, seed)
    assert kept >= 998 and composed < 4000


# What it answers


def test_an_answer_is_a_chat_completion():
    body = answer(request("qa", 2))
    assert body["object"] == "chat.completion" and body["model"] == "alif-demo-teacher"
    assert body["choices"][0]["finish_reason"] == "stop" and body["id"].startswith("chatcmpl-")
    usage = body["usage"]
    assert usage["completion_tokens"] == len(text_of(body).split())
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_text_form_is_the_one_synth_parses():
    from alif_kit.synth.parse import parse

    for category in CATEGORIES:
        parsed = parse(text_of(answer(request(category, 20))), "stop", category)
        assert len(parsed) == 20 and all(p.task and not p.problem for p in parsed)


def test_no_task_is_dropped_by_a_filter_of_synth():
    from alif_kit.synth.filters import first_reason
    from alif_kit.synth.parse import parse

    for category in CATEGORIES:
        for parsed in parse(render(many(category, 200)), "stop", category):
            assert first_reason(parsed.task) == "", parsed.raw


def test_the_json_form():
    for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "tasks"}}):
        tasks = json.loads(text_of(answer(request("sentiment", 4, response_format=form))))["tasks"]
        assert len(tasks) == 4 and set(tasks[0]) == {"instruction", "input", "output", "labels"}
    tasks = json.loads(text_of(answer(request("qa", 2, response_format={"type": "json_object"}))))["tasks"]
    assert set(tasks[0]) == {"instruction", "input", "output"}


def test_same_request_same_answer_and_other_requests_other_answers():
    assert answer(request()) == answer(request())
    assert answer(request(temperature=0.3)) == answer(request(temperature=0.9))
    others = (request(mark="اور"), request(seed=5), request() | {"model": "other"})
    texts = [text_of(answer(r)) for r in (request(), *others)]
    assert len(set(texts)) == 4


def test_lines_inside_examples_do_not_mislead():
    prompt = "مثال:\nقسم: ترجمہ (translation)\nتعداد: 9\n\nقسم: استدلال (reasoning)\nتعداد: 2"
    text = text_of(answer({"model": "m", "messages": [{"role": "user", "content": prompt}]}))
    assert text.count("استدلال:") == 2 and "=== 3 ===" not in text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "m", "messages": [{"role": "user", "content": "السلام علیکم، کیا حال ہے؟"}]}, "no_category"),
        (request("poems"), "unknown_category"),
        (request(count=0), "invalid_count"),
        (request(count=101), "invalid_count"),
        (request(count="بہت"), "invalid_count"),
        ({"model": "m"}, "invalid_messages"),
        ({"model": "m", "messages": [{"role": "user", "content": None}]}, "invalid_messages"),
        ([], "invalid_messages"),
        (request(stream=True), "unsupported_parameter"),
    ],
)
def test_a_bad_request_is_named(body, code):
    with pytest.raises(BadRequest) as caught:
        answer(body)
    assert caught.value.code == code and caught.value.status == 400


# Content faults


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", Faults.CONTENT)
def test_a_content_fault_shows_and_repeats(name, as_json):
    from alif_kit.synth.filters import first_reason
    from alif_kit.synth.parse import parse

    form = {"response_format": {"type": "json_object"}} if as_json else {}
    for category in CATEGORIES:
        for count in (1, 6):
            body = request(category, count, **form)
            made = answer(body, Faults(**{name: 1.0}))
            assert made == answer(body, Faults(**{name: 1.0}))
            finish = made["choices"][0]["finish_reason"]
            parsed = parse(text_of(made), finish, category)
            assert (finish == "length") == (name == "truncated")
            if name == "duplicates":
                assert len({p.task.id for p in parsed}) == 1 and len(parsed) == count
            elif name == "wrong_language":
                assert {first_reason(p.task) for p in parsed} <= {"wrong_language", "too_short", "no_final_answer"}
                assert "" not in {first_reason(p.task) for p in parsed}
            else:
                assert any(p.problem for p in parsed)


def test_a_refusal_is_an_urdu_apology():
    text = text_of(answer(request(count=5), Faults(refusing=1.0)))
    assert text in lexicon("ur", "speech")["refusals"]


def test_a_share_of_faults_strikes_that_share_of_requests():
    faults = Faults(duplicates=0.3)
    struck = sum(answer(request(mark=str(n)), faults) != answer(request(mark=str(n))) for n in range(300))
    assert 60 <= struck <= 120


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="rate_limit \\+ server_error \\+ drop"):
        Faults(rate_limit=0.6, drop=0.6)
    with pytest.raises(ValueError, match="truncated"):
        Faults(malformed=-0.1)


# The server


def test_models_and_stats():
    with DemoTeacher() as teacher:
        assert teacher.base_url.startswith("http://127.0.0.1:")
        status, listed = get(teacher, "/v1/models")
        assert status == 200 and listed["data"][0]["id"] == "alif-demo-teacher"
        assert "no substitute for a real teacher" in listed["data"][0]["description"]
        status, _, body = post(teacher, request(count=2))
        assert status == 200 and body == answer(request(count=2))
        usage = body["usage"]
        assert get(teacher, "/stats") == (200, teacher.stats)
        assert teacher.stats == {
            "requests": 1,
            "answered": 1,
            "rate_limited": 0,
            "errors": 0,
            "dropped": 0,
            "prompt_tokens": usage["prompt_tokens"],
            "completion_tokens": usage["completion_tokens"],
        }
        assert get(teacher, "/nowhere")[0] == 404
    with pytest.raises(OSError):
        get(teacher, "/v1/models")


def test_bad_bodies_get_an_error_object():
    with DemoTeacher() as teacher:
        for body, status, code in (
            (b"{", 400, "invalid_json"),
            (b"\xff", 400, "invalid_json"),
            ({}, 400, "invalid_messages"),
        ):
            found, _, answered = post(teacher, body)
            assert found == status and set(answered["error"]) == {"message", "type", "code"}
            assert answered["error"]["code"] == code
        assert post(teacher, request(), path="/v1/embeddings")[0] == 404
        assert teacher.stats["errors"] == 4 and teacher.stats["answered"] == 0


def test_transport_faults_strike_attempts_so_that_a_retry_passes():
    with DemoTeacher(faults=Faults(rate_limit=0.25, server_error=0.25, drop=0.25, retry_after_s=0.02)) as teacher:
        outcomes = Counter()
        for _ in range(60):
            try:
                status, headers, body = post(teacher, request())
            except RemoteDisconnected:
                outcomes["drop"] += 1
                continue
            outcomes[status] += 1
            if status == 429:
                assert headers["Retry-After"] == "0.02" and body["error"]["code"] == "rate_limit_exceeded"
        assert set(outcomes) == {200, 429, 500, "drop"}
        stats = teacher.stats
        assert (stats["answered"], stats["rate_limited"], stats["errors"], stats["dropped"], stats["requests"]) == (
            outcomes[200],
            outcomes[429],
            outcomes[500],
            outcomes["drop"],
            60,
        )


def test_many_at_once_get_what_each_would_get_alone():
    bodies = [request("reasoning", 5, mark=str(n)) for n in range(40)]
    with DemoTeacher(faults=Faults(latency_s=0.01)) as teacher, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda body: post(teacher, body)[2], bodies))
        assert answers == [answer(body) for body in bodies]
        assert teacher.stats["answered"] == 40


def test_the_kit_client_reaches_it_through_faults():
    from alif_kit.core.config import load
    from alif_kit.teacher.client import ChatClient, run_async

    teacher_settings = load("smoke").teacher
    body = request("translation", 2)

    async def ask(url):
        async with ChatClient(teacher_settings, base_url=url) as client:
            return await client.chat(body["messages"])

    with DemoTeacher(faults=Faults(rate_limit=0.4, server_error=0.2, retry_after_s=0.01, seed=3)) as teacher:
        reply = run_async(ask(teacher.base_url))
    assert reply.finish_reason == "stop" and reply.model == "alif-demo-teacher" and "=== 2 ===" in reply.text
