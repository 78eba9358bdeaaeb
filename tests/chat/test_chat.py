"""speakers, talk and the terminal: who answers, what a conversation keeps, what reaches the screen."""

import io
import json
import threading

import pytest

from alif_kit import pipeline
from alif_kit.chat import html, speakers, terminal
from alif_kit.chat import page as chat_page
from alif_kit.chat.own_weights import Weights
from alif_kit.chat.speech import Usage, fitting
from alif_kit.chat.talk import BASE, MODEL, Standing, Talk, Wishes, flag, standing
from alif_kit.chat.terminal import Isolating, printable
from alif_kit.cli import chat as chat_cli
from alif_kit.cli import main
from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import CATEGORIES
from alif_kit.core.run import Run
from alif_kit.languages.text import urdu_purity
from alif_kit.model.gemma import CHAT_TEMPLATE
from alif_kit.release import merge

HOSTILE = '<img src="http://evil.example/x.png" onerror="window.hacked=1"> ![x](http://evil.example/y.png) [z](javascript:alert(1))'


class Scripted:
    """A speaker whose answers are queued: lists of pieces, where an exception is raised in its place."""

    def __init__(self, *answers, name="scripted"):
        self.name, self.answers, self.asked, self.closed = name, list(answers), [], 0

    def ready(self):
        pass

    def stream(self, messages, temperature, max_tokens, usage):
        self.asked.append(messages)
        try:
            for piece in self.answers.pop(0):
                if isinstance(piece, BaseException):
                    raise piece
                usage.tokens += 1
                yield piece
            usage.by_itself = True
        finally:
            self.closed += 1


def asked(talk, text, wishes=None, **who):
    for _ in talk.ask(text, wishes or Wishes(), who):
        pass
    return talk.turns[-1]


# a conversation


def test_each_sees_its_own_answers_and_a_failed_turn_is_forgotten():
    model = Scripted(["لاہور ", "ہے"], [StoppedError("the server is gone")], ["ٹھیک"])
    base = Scripted(["کراچی"], ["ہاں"])
    talk = Talk()
    asked(talk, " کہاں؟ ", **{MODEL: model, BASE: base})
    assert asked(talk, "کیوں؟", **{MODEL: model}).answers[MODEL].error == "the server is gone"
    asked(talk, "کب؟", Wishes(system="مختصر لکھیں", beside=True), **{MODEL: model, BASE: base})
    system, question = {"role": "system", "content": "مختصر لکھیں"}, {"role": "user", "content": "کہاں؟"}
    last = {"role": "user", "content": "کب؟"}
    assert model.asked[2] == [system, question, {"role": "assistant", "content": "لاہور ہے"}, last]
    assert base.asked[1] == [system, question, {"role": "assistant", "content": "کراچی"}, last]
    assert [a.end for a in talk.turns[0].answers.values()] == ["itself", "itself"]


def test_stop_ends_the_answer_closes_the_speaker_and_skips_the_base():
    model, base, talk = Scripted(["ایک ", "دو ", "تین"]), Scripted(["چار"]), Talk()
    for turn in talk.ask("گنو", Wishes(), {MODEL: model, BASE: base}):
        if turn.answers[MODEL].text == "ایک دو ":
            talk.stop.set()
    assert turn.answers[MODEL].text == "ایک دو" and turn.answers[MODEL].end == "stopped"
    assert model.closed == 1 and base.asked == [] and turn.answers[BASE].end == "stopped"
    assert asked(talk, "پھر", **{MODEL: Scripted(["جی"])}).answers[MODEL].end == "itself"  # a stop is for one answer only


def test_again_replaces_the_answer_and_keeps_what_came_before():
    model, talk = Scripted(["الف"], ["ب"], ["ج"]), Talk()
    asked(talk, "پہلا", **{MODEL: model})
    asked(talk, "دوسرا", **{MODEL: model})
    for _ in talk.again(Wishes(temperature=1.0), {MODEL: model}):
        pass
    assert [turn.answers[MODEL].text for turn in talk.turns] == ["الف", "ج"]
    assert model.asked[2] == model.asked[1]


def test_nothing_is_asked_of_nobody():
    talk = Talk()
    with pytest.raises(UserError, match="message is empty"):
        talk.ask("  \n", Wishes(), {})
    with pytest.raises(UserError, match="nothing to answer again"):
        talk.again(Wishes(), {})
    assert talk.turns == []


def test_the_oldest_turns_go_when_a_conversation_no_longer_fits():
    turns = [{"role": role, "content": "x" * 10} for role in ("user", "assistant") * 3] + [{"role": "user", "content": "x" * 10}]
    head = {"role": "system", "content": "y" * 5}

    def count(messages):
        return sum(len(m["content"]) for m in messages)

    assert fitting([head, *turns], count, 75) == ([head, *turns], 0)
    assert fitting([head, *turns], count, 40) == ([head, *turns[4:]], 4)
    with pytest.raises(UserError, match="has 15 tokens in its frame, 14 fit"):
        fitting([head, *turns], count, 14)


# the review file and the verdict


def test_a_flagged_answer_is_appended_with_its_conversation(tmp_path):
    talk, path, lock = Talk(), tmp_path / "release" / "flagged.jsonl", threading.Lock()
    asked(talk, "سوال", Wishes(system="نظام", temperature=0.3), **{MODEL: Scripted([HOSTILE], name="m-1")})
    path.parent.mkdir()
    path.write_text('{"whole": 1}\n{"torn', "utf-8")
    flag(path, talk, 0, MODEL, " غلط ", lock)
    first, row = map(json.loads, path.read_text("utf-8").splitlines())
    when = row.pop("time")
    assert first == {"whole": 1} and when.endswith("+00:00") and len(when) == 25
    messages = [{"role": "system", "content": "نظام"}, {"role": "user", "content": "سوال"}]
    assert row == {"model": "m-1", "note": "غلط", "messages": messages, "answer": HOSTILE, "end": "itself", "temperature": 0.3}
    for number, who in ((1, MODEL), (-1, MODEL), (0, BASE)):
        with pytest.raises(UserError, match="no such answer"):
            flag(path, talk, number, who, "", lock)


def test_the_verdict_is_only_that_of_the_models_own_gate(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    assert standing("m", run) == Standing("m", "r", "none")
    gate, merged = run.file("evaluation", "gate.json"), run.file("release", "merged", "merge.json")
    adapter = run.file("finetune", "adapter", "adapter_model.safetensors")
    for path in (gate, merged, adapter):
        path.parent.mkdir(parents=True)
    gate.write_text(json.dumps({"verdict": "fail", "tuned": "tiny + finetune/adapter"}))
    assert standing("m", run).verdict == "fail" and standing("m", None) == Standing("m", "", "none")
    assert standing("x-q8_0.gguf", run).quantised and not standing("m", run).quantised
    adapter.write_bytes(b"judged")
    merged.write_text(json.dumps({"adapter_sha256": merge.digest(adapter)}))
    assert standing("m", run).verdict == "fail"
    adapter.write_bytes(b"tuned again")
    assert standing("m", run).verdict == "none"
    gate.write_text(json.dumps({"verdict": "pass", "tuned": "somebody/else"}))
    assert standing("m", run).verdict == "none"


# what the page shows


def test_an_answer_becomes_text_and_loads_nothing():
    shown = html.markup(f"**اہم** {HOSTILE}\n\n<script>x</script>\n\n[r]: http://evil.example/z")
    assert "<img" not in shown and "<script" not in shown and "<a " not in shown and "href" not in shown
    assert "<strong>اہم</strong>" in shown and "![x](http://evil.example/y.png)" in shown and "&lt;script&gt;" in shown
    assert html.markup('```x"><img src=y>\n<b>\n```') == (
        '<pre><code class="language-x&quot;&gt;&lt;img">&lt;b&gt;\n</code></pre>\n'
    )


def test_each_block_runs_in_its_own_direction():
    assert html.markup("ChatGPT ایک زبان کا ماڈل ہے") == '<p dir="rtl">ChatGPT ایک زبان کا ماڈل ہے</p>\n'
    assert html.markup("A poem") == '<p dir="ltr">A poem</p>\n'
    listed = html.markup("1. پانی\n2. water")
    assert listed == '<ol dir="rtl">\n<li dir="rtl">پانی</li>\n<li dir="ltr">water</li>\n</ol>\n'
    assert html.direction("12 + 7") == "rtl"


def test_what_a_person_or_a_model_is_called_cannot_break_out_of_the_page():
    talk, page = Talk(), html.texts("ur")["ur"]
    asked(talk, HOSTILE, **{MODEL: Scripted([HOSTILE], name=HOSTILE), BASE: Scripted(["x"], [StoppedError(HOSTILE)], name=HOSTILE)})
    shown = html.now(talk, page) + html.footer(Standing(HOSTILE, HOSTILE), page) + html.header(HOSTILE, page)
    assert "<img" not in shown and '" onerror' not in shown and "&lt;img" in shown


def test_both_interfaces_say_everything_and_the_urdu_is_spelt_in_urdu():
    urdu, english = html.texts("ur").values()
    assert (urdu.language, english.language) == ("ur", "en")
    assert urdu.say.keys() == english.say.keys()
    assert len(urdu.examples) == len(english.examples) == len(CATEGORIES) == 7
    assert [len(prompts) for prompts in urdu.examples.values()] == [2] * 7 and set(urdu.examples) & set(english.examples) == set()
    for text in [*urdu.say.values(), *(p for prompts in urdu.examples.values() for p in prompts)]:
        assert not set(text) & set("يكهةىٱ0123456789"), text
    for name in ("stats", "left_out"):
        assert urdu.say[name].count("{") == english.say[name].count("{") > 0


def test_a_pack_without_a_chat_of_its_own_speaks_urdu(tmp_path):
    (tmp_path / "pack.toml").write_text('code = "xx"\n')
    assert html.texts(str(tmp_path)) == html.texts("ur")


def test_a_language_switch_renames_every_part(tmp_path):
    pytest.importorskip("gradio", reason="gradio is not installed: it comes with the extra `review`")
    chat = chat_page.Chat(Scripted(), Standing("m"), tmp_path / "f.jsonl")
    names = ["header", "message", "send", "temperature", "now"]
    header, message, send, temperature, now = chat_page._switch(chat, names, Talk(), "en")
    assert "Chat in Urdu" in header and 'dir="ltr"' in header and "Reasoning" in now
    assert (message["label"], message["placeholder"], send["value"]) == ("Your message", "Write here", "Send")
    assert temperature["label"] == "Temperature"


# the terminal


@pytest.mark.parametrize(
    "text, shown",
    [
        ("سلام\nHi", "\u2067سلام\u2069\nHi"),
        ("12. پانی", "\u206712. پانی\u2069"),
        ("12 + 7", "12 + 7"),
        ("\n\nالف", "\n\n\u2067الف\u2069"),
        ("a الف", "a الف"),
    ],
)
def test_a_line_that_begins_in_urdu_becomes_one_isolate(text, shown):
    isolating = Isolating(True)
    assert "".join(map(isolating.feed, text)) + isolating.end() == shown
    bare = Isolating(False)
    assert bare.feed(text) + bare.end() == text


def test_an_answer_cannot_steer_the_terminal():
    assert printable("\x1b[2Jالف\u202e\x07\r\u200cب\u2069\n\tc\x9b") == "[2Jالف\u200cب\n\tc"


def converse(monkeypatch, speaker, *lines):
    """What the terminal shows for these lines, as to a file."""
    queue = list(lines)

    def read(prompt):
        if not queue:
            raise EOFError
        line = queue.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)
    out = io.StringIO()
    terminal.converse(speaker, Wishes(), out)
    return out.getvalue()


def test_a_conversation_in_the_terminal(monkeypatch):
    speaker = Scripted(["لاہور", "\u200c ہے"], ["ٹھیک"], ["نیا"])
    shown = converse(monkeypatch, speaker, "کہاں؟", "", "/system مختصر", "اور؟", "/reset", "پھر؟", "/what", "/exit", "never asked")
    assert "لاہور\u200c ہے\n(2 tokens, " in shown and shown.count(terminal.HELP) == 2
    assert [len(m) for m in speaker.asked] == [1, 4, 2]
    assert speaker.asked[1][0] == {"role": "system", "content": "مختصر"}
    assert speaker.asked[2] == [{"role": "system", "content": "مختصر"}, {"role": "user", "content": "پھر؟"}]


def test_ctrl_c_stops_the_answer_and_not_the_chat(monkeypatch):
    speaker = Scripted(["ایک ", KeyboardInterrupt(), "دو"], ["تین"])
    shown = converse(monkeypatch, speaker, "گنو", KeyboardInterrupt(), "اور")
    assert "ایک \n(1 tokens, " in shown and "stopped by you)" in shown and "(/exit leaves)" in shown
    assert "تین\n(1 tokens, " in shown and speaker.closed == 2


def test_a_failed_answer_is_a_sentence_and_the_chat_goes_on(monkeypatch):
    shown = converse(monkeypatch, Scripted([StoppedError("the server is gone")], ["جی"]), "سوال", "پھر")
    assert "(no answer: the server is gone)" in shown and "جی\n" in shown


# who answers


def chunks(*deltas, finish="stop", usage=None):
    """The body of a streamed answer."""
    rows = [{"delta": {"content": text}, "index": 0, "finish_reason": None} for text in deltas]
    rows.append({"delta": {}, "index": 0, "finish_reason": finish})
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    sent = [{**frame, "choices": [row]} for row in rows] + ([{**frame, "choices": [], "usage": usage}] if usage else [])
    return 200, {"Content-Type": "text/event-stream"}, "".join(f"data: {json.dumps(c)}\n\n" for c in sent) + "data: [DONE]\n\n"


def said(speaker, text="سوال", temperature=0.0, max_tokens=32):
    usage = Usage()
    return "".join(speaker.stream([{"role": "user", "content": text}], temperature, max_tokens, usage)), usage


def test_an_endpoint_answers_piece_by_piece_with_its_own_key(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "the-teachers-key")
    monkeypatch.setenv("ALIF_ENDPOINT_KEY", "its-own-key")
    tokens = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    endpoint.queue += [chunks("لاہور", " ہے", usage=tokens), chunks("a", "b", finish="length")]
    speaker = speakers.find(f"{endpoint.base_url}#urdu-4b", config.load("smoke").base, str)
    assert said(speaker) == ("لاہور ہے", Usage(7, True, 0)) and speaker.name == "urdu-4b"
    assert said(speaker) == ("ab", Usage(2, False, 0))
    request = endpoint.requests[0]
    assert {k.lower(): v for k, v in request["headers"].items()}["authorization"] == "Bearer its-own-key" and request["body"][
        "model"
    ] == "urdu-4b"
    assert request["body"]["stream"] is True and request["body"]["max_tokens"] == 32


def test_an_endpoint_without_a_key_never_gets_the_teachers(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "the-teachers-key")
    monkeypatch.delenv("ALIF_ENDPOINT_KEY", raising=False)
    endpoint.queue.append(chunks("x"))
    said(speakers.Endpoint(endpoint.base_url, "m"))
    assert "teachers" not in json.dumps(endpoint.requests[0]["headers"])


def test_an_option_that_a_server_does_not_know_is_left_out(endpoint):
    refuse = "Unsupported parameter: '{}'. Use 'max_completion_tokens' instead."
    endpoint.queue += [(400, {}, {"error": {"message": "unknown field stream_options"}})]
    endpoint.queue += [(400, {}, {"error": {"message": refuse.format("max_tokens")}}), chunks("ok")]
    assert said(speakers.Endpoint(endpoint.base_url, "m"))[0] == "ok"
    body = endpoint.requests[2]["body"]
    assert "stream_options" not in body and "max_tokens" not in body and body["max_completion_tokens"] == 32


def test_a_refusing_endpoint_is_a_sentence_without_the_key(endpoint, monkeypatch):
    monkeypatch.setenv("ALIF_ENDPOINT_KEY", "its-own-key")
    endpoint.queue.append((401, {}, {"error": {"message": "its-own-key is no key"}}))
    with pytest.raises(StoppedError, match="did not answer: .*<key> is no key"):
        said(speakers.Endpoint(endpoint.base_url, "m"))


def test_an_endpoint_that_breaks_off_keeps_what_it_said(endpoint):
    status, headers, body = chunks("لاہور ")
    endpoint.queue.append((status, headers, body.split("\n\n")[0] + '\n\ndata: {"cut\n\n'))
    turn = asked(Talk(), "کہاں؟", **{MODEL: speakers.Endpoint(endpoint.base_url, "m")})
    answer = turn.answers[MODEL]
    assert (answer.text, answer.end) == ("لاہور", "failed") and "did not answer" in answer.error


def test_who_is_told_apart_by_what_lies_there(tmp_path):
    base = config.load("smoke").base
    with pytest.raises(UserError, match="names no model; expected the address, then #"):
        speakers.find("http://127.0.0.1:1/v1", base, str)
    with pytest.raises(UserError, match="is not there; expected a .gguf file"):
        speakers.find(str(tmp_path / "no.gguf"), base, str)
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="holds 2 GGUF files; name one: a.gguf, b.gguf"):
        speakers.find(str(tmp_path), base, str)
    (tmp_path / "b.gguf").unlink()
    assert speakers.find(str(tmp_path), base, str) == speakers.Gguf(tmp_path / "a.gguf")
    adapter = tmp_path / "finetune" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    found = speakers.find(str(adapter), base, lambda name: f"resolved {name}")
    assert (found.name, found.find(), found.adapter) == ("tiny + finetune/adapter", "resolved tiny", adapter)
    assert speakers.find("org/model", base, str).adapter is None
    assert speakers.adapter_base(adapter) == "org/base"
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say which base"):
        speakers.adapter_base(adapter)


def test_the_base_beside_is_the_one_the_model_stands_on(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    with pytest.raises(UserError, match="run `alif finetune"):
        speakers.choose(run, None, None, str)
    foreign, own = tmp_path / "adapter", run.file("finetune", "adapter")
    for adapter in (foreign, own):
        adapter.mkdir(parents=True)
        (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')
    speaker, base = speakers.choose(run, None, None, str)
    assert (speaker.name, speaker.adapter, base.bare_of) == ("r: finetune/adapter", own, speaker)
    speaker, base = speakers.choose(run, str(foreign), None, str)
    assert (speaker.base.model, base.name, base.bare_of) == ("org/other", "other", speaker)
    assert speakers.choose(run, str(foreign), "org/mine", str)[0].base.model == "org/mine"
    speaker, base = speakers.choose(run, "http://127.0.0.1:1/v1#m", None, str)
    assert speaker == speakers.Endpoint("http://127.0.0.1:1/v1", "m") and base is None
    assert speakers.choose(run, "org/model", "http://127.0.0.1:1/v1#b", str)[1] == speakers.Endpoint("http://127.0.0.1:1/v1", "b")
    merged = run.file("release", "merged")
    merged.mkdir(parents=True)
    assert speakers.choose(run, None, None, str)[0].adapter == own  # half a merge is none
    (merged / "SHA256SUMS").touch()
    speaker, base = speakers.choose(run, None, None, str)
    assert (speaker.name, speaker.find(), base.bare_of, base.find()) == ("r: release/merged", str(merged), None, "tiny")


def test_an_adapter_on_a_merged_pretraining_has_the_real_base_beside_it(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke", {"lora.after_pretraining": "merge"}))
    for folder in (run.file("finetune", "adapter"), run.file("pretrain", "merged")):
        folder.mkdir(parents=True)
    speaker, base = speakers.choose(run, None, None, str)
    assert (speaker.find(), base.bare_of, base.find()) == (str(run.file("pretrain", "merged")), None, "tiny")


def test_an_adapter_and_its_base_answer_out_of_the_same_memory(finished):
    from functools import partial

    resolve = partial(pipeline._resolve, finished)
    speaker, base = speakers.choose(finished, str(finished.file("finetune", "adapter")), None, resolve)
    before, counted = said(speaker, "The river carries silt from the mountains.")
    alone = Weights("tiny", finished.config.base, partial(resolve, "tiny"))
    bare = said(base, "The river carries silt from the mountains.")
    assert bare == said(alone, "The river carries silt from the mountains.") and bare[0] != before
    assert said(speaker, "The river carries silt from the mountains.") == (before, counted)
    assert base.loaded is speaker.loaded and counted.tokens + counted.by_itself <= 32

    threads = threading.active_count()
    pieces = base.stream([{"role": "user", "content": "سلام"}], 0.9, 512, Usage())
    next(pieces)
    pieces.close()
    assert threading.active_count() == threads  # the work behind a closed answer has ended
    with pytest.raises(UserError, match="tokens in its frame"):
        said(base, "سلام " * 3000)
    speaker.loaded.model.generate = None
    with pytest.raises(StoppedError, match="the model stopped: 'NoneType' object is not callable"):
        said(base)


@pytest.mark.slow
def test_a_gguf_answers_through_llama_cpp(gemma_gguf):
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    speaker = speakers.Gguf(gemma_gguf)  # a base model's file: without a template it is asked in the plain frame
    plain, usage = said(speaker, "پاکستان کا دارالحکومت کون سا شہر ہے؟", max_tokens=24)
    assert urdu_purity(plain) > 0.9 and 0 < usage.tokens <= 24
    speaker.llama.metadata["tokenizer.chat_template"] = CHAT_TEMPLATE
    speaker.llama.chat_handler = Jinja2ChatFormatter(CHAT_TEMPLATE, "<end_of_turn>", "<bos>").to_chat_handler()
    text, usage = said(speaker, "پاکستان کا دارالحکومت کون سا شہر ہے؟", max_tokens=24)
    assert text != plain and 0 < usage.tokens <= 24


# the command


def run_cli(capsys, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["alif", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return ended.value.code, capsys.readouterr().err


def test_a_mistake_is_one_sentence(tmp_path, capsys, monkeypatch):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(tmp_path / "nowhere"))
    assert code == 2 and "name a finished run with --run, or a model with --model" in said_
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(run.path), "--web", "--share")
    assert code == 2 and "--share makes the page public, so it needs a password" in said_
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(run.path), "--share", "--password", "long enough")
    assert code == 2 and "add --web" in said_
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(run.path), "--password", "long enough")
    assert code == 2 and "--password is for the page, and there is none; add --web" in said_
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(run.path), "--web", "--password", "short")
    assert code == 2 and "the password has 5 characters; expected at least 8" in said_
    code, said_ = run_cli(capsys, monkeypatch, "chat", "--run", str(run.path))
    assert code == 2 and "run `alif finetune" in said_


def test_settings_of_a_conversation_change_nothing_in_the_run(tmp_path):
    run = Run.open(tmp_path / "r", config.load("smoke"))
    before = run.file("config.json").read_text("utf-8")
    opened = chat_cli._run(run.path, "auto", ["base.load_in_4bit=false"], None)
    assert opened.config.base.load_in_4bit is False and run.file("config.json").read_text("utf-8") == before


def test_a_model_from_elsewhere_is_not_taken_for_the_default_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    run = Run.open(tmp_path / "runs" / "default", config.load("smoke", {"mixture.system": "مختصر لکھیں"}))
    for model, system in ((None, "مختصر لکھیں"), (str(run.file("release", "merged")), "مختصر لکھیں"), ("org/model", "")):
        assert chat_cli._run(None, "smoke", None, model).config.mixture.system == system


def test_the_command_talks_to_an_endpoint(endpoint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    endpoint.queue.append(chunks("وعلیکم", " السلام"))
    lines = ["/exit", "السلام علیکم"]
    monkeypatch.setattr("builtins.input", lambda prompt: lines.pop())
    monkeypatch.setattr("sys.argv", ["alif", "chat", "--model", f"{endpoint.base_url}#m", "--system", "مختصر", "--preset", "smoke"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0 and "وعلیکم السلام\n(2 tokens" in capsys.readouterr().out
    assert endpoint.requests[0]["body"]["messages"][0] == {"role": "system", "content": "مختصر"}
    assert list(tmp_path.iterdir()) == []  # a conversation leaves nothing behind


def test_the_page_of_a_finished_run_is_built_as_the_notebook_builds_it(finished):
    """Nothing is loaded before the first question."""
    page = pipeline.chat_page(finished)
    assert type(page).__name__ == "Blocks"
    page.close()
