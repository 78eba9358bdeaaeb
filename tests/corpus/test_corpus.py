"""training: sources that stream, one reason a text, held-out documents no order can leak, rows that lose no token."""

import json
import subprocess
import sys

import pytest
from conftest import PATIENCE

from alif_kit.core import config
from alif_kit.core.errors import UserError
from alif_kit.core.records import Document, write_jsonl
from alif_kit.core.run import Run
from alif_kit.corpus import blocks, clean, duplicates, prepare, sources
from alif_kit.languages import pack
from alif_kit.languages.held_out import held_out


class Letters:
    """A tokenizer of one token a letter: BOS 1, EOS 2."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, texts, add_special_tokens=True, verbose=True):
        return {"input_ids": [[ord(c) for c in text] for text in texts]}


class Bare(Letters):
    bos_token_id = None


PROSE = (
    "دریا پہاڑوں سے نکلتا ہے اور میدانوں کو سیراب کرتا ہوا سمندر میں جا گرتا ہے۔ اس کے کنارے صدیوں سے بستیاں آباد ہیں۔ کسان اس کے پانی "
    "سے کھیت سینچتے ہیں اور ملاح اس پر کشتیاں چلاتے ہیں۔ برسات میں پانی چڑھ آتا ہے تو لوگ اونچی جگہوں پر چلے جاتے ہیں۔"
)
ENGLISH = (
    "The river rises in the mountains and runs through the plains before it reaches the sea. People have lived on its banks for many "
    "hundred years. They water their fields with it, and they travel on it by boat when the roads are closed in winter."
)


def ur(text, title=""):
    return Document(text, title=title, language="ur")


SIGNATURE = [21412, 30621, 1532, 10001]  # of PROSE


PLAIN = "یہ بات اس شہر کے لوگوں میں بہت پہلے سے کہی جاتی ہے کہ وہ سب ساتھ رہتے تھے اور کوئی بھی ان سے الگ نہیں تھا"


def page(number, words=50):
    """Urdu prose of its own: the same everyday words, each followed by one that only this page has."""
    plain, first, second = PLAIN.split(), "ابپتٹجچحخد"[number % 10], "دڈرڑزسشصطظ"[number // 10]
    own = (first + second + "کگلمنوہیےف"[i % 10] + "عغقثذضںءؤئ"[i // 10] for i in range(words))
    return " ".join(f"{plain[i % len(plain)]} {word}" for i, word in enumerate(own))


def written(path, texts):
    write_jsonl(path, [{"text": text} for text in texts])
    return str(path)


def a_run(folder, texts=None, **settings):
    if texts is not None:
        folder.mkdir(exist_ok=True)
        settings["corpus.source"] = written(folder / "corpus.jsonl", texts)
    return Run.open(folder / "run", config.load("smoke", settings))


def texts_of(run, name):
    with run.file("pretrain", "corpus", f"{name}.jsonl").open() as file:
        return [json.loads(line)["text"] for line in file]


# Sources


def read(source, language="ur", **settings):
    return list(sources.documents(str(source), language, config.load("smoke", settings)))


def test_the_pack_is_a_source_with_its_own_split():
    assert read("pack") == pack.corpus("ur", "ur") and read("pack", "en") == pack.corpus("ur", "en")


def test_a_text_file_has_a_document_between_blank_lines(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffایک\nدو\n\n \nتین\n", "utf-8")
    assert read(tmp_path / "a.txt") == [ur("ایک\nدو"), ur("تین")]


def test_a_jsonl_file_has_a_document_a_row_and_blank_rows_are_passed_over(tmp_path):
    rows = [{"body": "متن", "title": "نام"}, {"body": None}, {"body": " \n"}, {"body": "اور", "title": 7}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert read(tmp_path / "a.jsonl", **{"corpus.text_field": "body"}) == [ur("متن", "نام"), ur("اور")]


def parquet(path, texts):
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "title": ["نام"] * len(texts), "text": texts}), path)


def test_a_parquet_file_is_read_in_batches(tmp_path):
    texts = [f"متن {i}" for i in range(sources.PARQUET_ROWS + 1)]
    parquet(tmp_path / "a.parquet", texts)
    assert [d.text for d in read(tmp_path / "a.parquet")] == texts


CARD = """---
configs:
- config_name: 20231101.en
  data_files: [{split: train, path: 20231101.en/train-*}]
- config_name: 20231101.ur
  data_files: [{split: train, path: 20231101.ur/train-*}, {split: spare, path: 20231101.ur/spare-*}]
---
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder laid out as wikimedia/wikipedia is on the Hub, which `datasets` reads by the same name and code."""
    root = tmp_path / "wikimedia" / "wikipedia"
    for language, text in (("en", "English page"), ("ur", "اردو صفحہ")):
        parquet(root / f"20231101.{language}" / "train-00000-of-00002.parquet", [text, f"{text} 2"])
        parquet(root / f"20231101.{language}" / "train-00001-of-00002.parquet", [f"{text} 3"])
    parquet(root / "20231101.ur" / "spare-00000-of-00001.parquet", ["فالتو"])
    (root / "README.md").write_text(CARD, "utf-8")
    monkeypatch.chdir(tmp_path)


def test_wikipedia_and_hub_sets_are_streamed_by_datasets(hub):
    assert [d.text for d in read("wikipedia")] == ["اردو صفحہ", "اردو صفحہ 2", "اردو صفحہ 3"]
    assert read("wikipedia", "en")[0] == Document("English page", title="نام", language="en")
    assert read("wikimedia/wikipedia:20231101.ur:spare") == [ur("فالتو", "نام")]


def test_a_split_that_is_not_there_is_named(hub):
    with pytest.raises(
        UserError, match=r"wikimedia/wikipedia:20231101.ur:test cannot be read: .*test.*; name another configuration or split"
    ):
        read("wikimedia/wikipedia:20231101.ur:test")


STOPS_EARLY = """
from itertools import islice
from alif_kit.core import config
from alif_kit.corpus import sources
stream = sources.documents("wikipedia", "ur", config.load("smoke"))
print([d.text for d in islice(stream, 1)])
stream.close()
"""


def test_a_stream_left_early_lets_the_program_end(hub):
    ended = subprocess.run([sys.executable, "-c", STOPS_EARLY], capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout.strip()) == (0, "['اردو صفحہ']"), ended.stderr


class GatedRepoError(OSError):
    pass


@pytest.mark.parametrize(
    "source, error, asked, sentence",
    [
        (
            "uonlp/CulturaX:ur",
            GatedRepoError("401 Client Error.\nmore"),
            ("uonlp/CulturaX", "ur", "train"),
            "the corpus uonlp/CulturaX:ur:train cannot be read: 401 Client Error; accept its terms at "
            "https://huggingface.co/datasets/uonlp/CulturaX and set HF_TOKEN",
        ),
        (
            "org/absent",
            FileNotFoundError("Dataset 'org/absent' doesn't exist on the Hub"),
            ("org/absent", None, "train"),
            "the corpus org/absent::train cannot be read: Dataset 'org/absent' doesn't exist on the Hub; check the name and the network, "
            "or set corpus.source or corpus.replay to pack or a local file",
        ),
        (
            "HuggingFaceFW/fineweb-2:urd_Arab:test",
            ConnectionError(),
            ("HuggingFaceFW/fineweb-2", "urd_Arab", "test"),
            "the corpus HuggingFaceFW/fineweb-2:urd_Arab:test cannot be read: ConnectionError; check the name and the network, "
            "or set corpus.source or corpus.replay to pack or a local file",
        ),
    ],
)
def test_a_hub_set_that_cannot_be_read_says_why(monkeypatch, source, error, asked, sentence):
    import datasets

    calls = []

    def failing(name, config, split, streaming):
        calls.append((name, config, split))
        assert streaming
        yield {"text": "متن"}
        raise error

    monkeypatch.setattr(datasets, "load_dataset", failing)
    stream = sources.documents(source, "ur", config.load("smoke"))
    assert next(stream) == ur("متن") and calls == [asked]
    with pytest.raises(UserError) as raised:
        next(stream)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("source", ["a/b/c", "wikipedia2", "org/name:a:b:c", "/name", "https://x.org/a"])
def test_a_source_of_no_known_form_is_refused(source):
    with pytest.raises(UserError, match="expected pack, wikipedia, a Hub data set org/name"):
        read(source)


def test_bad_files_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"absent.jsonl is not there"):
        read(tmp_path / "absent.jsonl")
    write_jsonl(tmp_path / "a.jsonl", [{"body": "متن", "n": 3}])
    with pytest.raises(UserError, match="has no column 'text' but body, n; set corpus.text_field"):
        read(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="column 'n' of .* holds int"):
        read(tmp_path / "a.jsonl", **{"corpus.text_field": "n"})
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8"):
        read(tmp_path / "a.txt")
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match="is not a Parquet file"):
        read(tmp_path / "a.parquet")


# Repair


@pytest.mark.parametrize(
    "before, after",
    [
        ("دریائے '''نیل'''[1] [[دریا|لمبا دریا]] ہے۔[۱۲]", "دریائے نیل لمبا دریا ہے۔"),
        ("متن<ref name=a>کتاب</ref> اور<ref name=b/> متن۔<!-- نوٹ -->", "متن اور متن۔"),
        ("{{سانچہ|{{اندر}}}}متن&nbsp;ہے", "متن ہے"),
        ("{| class=x\n| الف || ب\n|}\nمتن", "متن"),
        ("متن [[فائل:a.jpg|thumb|ایک [[دریا]]]] ہے", "متن ہے"),
        ("[https://x.org سائٹ] دیکھیں", "سائٹ دیکھیں"),
        ("لاہور (انگریزی: ) اور (؛ پیدائش 1950ء) نیز ( )، ہے", "لاہور (انگریزی: ) اور (پیدائش 1950ء) نیز، ہے"),
        ("== تاریخ ==\nمتن", "تاریخ\nمتن"),
        ("متن\n\nزمرہ:دریا\n•\nاور", "متن\n\nاور"),
        ("یہ ایک نامکمل مضمون ہے۔ آپ اس میں اضافہ کر کے ویکیپیڈیا کی مدد کر سکتے ہیں۔\nمتن", "متن"),
        ("كتاب  هے", "کتاب ہے"),
        ("سن [1947] میں 5'' کی میخ، x < y، a[10] نہیں", "سن [1947] میں 5'' کی میخ، x < y، a نہیں"),
    ],
)
def test_each_repair(before, after):
    assert clean.repair(ur(before)).text == after


def test_reference_sections_go_up_to_the_next_prose():
    ending = "\n\nحوالہ جات:\n↑ ایک کتاب\n\nبیرونی روابط\nسرکاری سائٹ"
    assert clean.repair(ur(PROSE + ending)).text == PROSE
    assert clean.repair(ur(PROSE + ending + "\n\n" + PROSE)).text == PROSE + "\n\n" + PROSE
    assert clean.repair(Document("A page.\n\nReferences\nSmith (2001)", language="en")).text == "A page."


def test_a_document_with_nothing_left_is_none_and_a_clean_one_is_itself():
    assert clean.repair(ur("زمرہ:دریا")) is None
    document = ur(PROSE, "دریا")
    assert clean.repair(document) is document


@pytest.mark.parametrize("language", ["ur", "en"])
def test_the_packs_documents_are_clean(language):
    for document in pack.corpus("ur", language):
        assert clean.repair(document) is document and clean.first_reason(document, 40) == "", document.title


@pytest.mark.parametrize(
    "piece", ["<ref> {{ [[ {| <!-- ", "= ", "=", "( ", "[ ", "'", "<a ", "{{a", "&", " ،", "* ", "[//a ", "[[a|"]
)
def test_unclosed_markup_does_not_hang(piece):
    text = piece * (20_000 // len(piece)) + " متن"
    assert clean.repair(ur(text)).text.endswith("متن")
    clean.repair(ur(piece[0] + " " * 20_000 + "متن"))


# Reasons

ROWS = "\n".join(f"سال {1900 + i} | {i} | {i * i}" for i in range(40))
NAMES = "\n".join(
    ["لاہور شہر", "ملتان شہر", "کراچی", "پشاور شہر کا", "کوئٹہ"] * 1 + [f"شہر {n}" for n in ("الف", "ب", "ج", "د", "ہ", "و")]
)
PERSIAN = "این کتاب را برای شما آورده ام و می خواهم که آن را بخوانید زیرا بسیار خوب است و از خواندن آن لذت خواهید برد"


@pytest.mark.parametrize(
    "document, reason",
    [
        (ur(PROSE, "دریا"), ""),
        (ur(PROSE + " {{{ [[ \\frac{a}{b} <div <span> == ^_^ }}"), "markup"),
        (ur(PROSE + " https://a.pk" * 9), "markup"),
        (ur("#رجوع مکرر دریائے سندھ " + PROSE), "boilerplate"),
        (ur(PROSE, "فہرست ممالک"), "boilerplate"),
        (ur(PROSE, "پاکستانی شہروں کی فہرست"), "boilerplate"),
        (ur(PROSE, "نیل (ضد ابہام)"), "boilerplate"),
        (ur("نیل سے مراد ہو سکتی ہے:\nایک دریا\nایک رنگ\n" + PROSE), "boilerplate"),
        (ur("تفصیلات\nرام پور کا رقبہ 2.59 مربع کیلومیٹر ہے اور اس کی مجموعی آبادی 346 افراد پر مشتمل ہے۔"), "boilerplate"),
        (Document("Mercury may refer to:\nA planet\n" + ENGLISH, language="en"), "boilerplate"),
        (Document(ENGLISH, title="List of rivers", language="en"), "boilerplate"),
        (Document("Foo is a village in the north of the country.", language="en"), "boilerplate"),
        (ur(ROWS), "table"),
        (ur(NAMES), "table"),
        (ur(ENGLISH), "wrong_language"),
        (ur(PERSIAN), "wrong_language"),
        (Document(PROSE, language="en"), "wrong_language"),
        (Document(ENGLISH, language="en"), ""),
        (ur("\n".join([PROSE, *["بار بار آنے والی یہ سطر کچھ نہیں بتاتی اور بس آتی رہتی ہے"] * 4])), "too_repetitive"),
        (ur((PROSE + " ") * 3), "too_repetitive"),
        (ur("یہ دریا بہت لمبا ہے اور سمندر تک جاتا ہے۔"), "too_short"),
    ],
)
def test_one_reason_a_text(document, reason):
    assert clean.first_reason(document, 12) == reason


def test_the_least_number_of_words_counts():
    assert clean.too_short(ur("ایک دو تین"), 4) == "too_short" and clean.too_short(ur("ایک دو تین"), 3) == ""


# Duplicates


def test_shingles_are_runs_of_five_words_without_marks_case_and_punctuation():
    assert duplicates.runs("a b c d e f") == 2 and len(duplicates.shingles("a b c d e f")) == 2
    assert duplicates.shingles("A b, c d e").tolist() == duplicates.shingles("a b c d «e»۔").tolist()
    assert duplicates.shingles("کِتاب").tolist() == duplicates.shingles("کتاب").tolist()
    assert duplicates.runs("a a a a a a a a") == 4 and len(duplicates.shingles("a a a a a a a a")) == 1


def test_a_signature_is_the_same_on_every_machine():
    assert duplicates.signature(PROSE)[:4].tolist() == SIGNATURE


def near(texts, threshold=0.8):
    """For each text the number of a kept one like it, the kept ones being those that have none."""
    signatures, found = duplicates.Signatures(), []
    index = duplicates.NearDuplicates(signatures, threshold)
    for number, text in enumerate(texts):
        signatures.add(text)
        found.append(index.find(number))
        if found[-1] is None:
            index.add(number)
    return found


def test_near_duplicates_point_to_the_kept_one():
    words = page(1).split()
    one_word_more, half = " ".join([*words, "اور"]), " ".join(words[:50] + page(2).split()[:50])
    assert near([page(0), page(1), one_word_more, page(1), half]) == [None, None, 1, 1, None]
    assert near([page(1), half], threshold=0.2) == [None, 0]


def test_the_index_finds_what_it_merged(monkeypatch):
    monkeypatch.setattr(duplicates.NearDuplicates, "NEWEST", 30)
    texts = [page(n) for n in range(40)]
    assert near(texts + texts) == [None] * 40 + list(range(40))


def test_bands_have_as_many_rows_as_bring_pairs_at_the_threshold_together():
    assert [duplicates.band_rows(t) for t in (0.1, 0.5, 0.8, 0.95, 1.0)] == [1, 2, 5, 11, 64]


# Preparation


def test_the_funnel_adds_up_and_names_each_reason(tmp_path):
    texts = [page(n) for n in range(30)]
    texts += [texts[0], ENGLISH, "مختصر", "زمرہ:دریا", ROWS, "'''" + page(30) + "'''"]
    run = a_run(tmp_path, texts)
    funnel = prepare.prepare(run)["train"]
    dropped = {reason: count for reason, count in funnel["dropped"].items() if count}
    assert dropped == {"table": 1, "wrong_language": 1, "too_short": 2, "duplicate": 1}
    assert set(funnel["dropped"]) == set(prepare.REASONS)
    assert (funnel["documents_read"], funnel["documents_train"], funnel["documents_held_out"]) == (36, 28, 3)
    words = len(ENGLISH.split()) + 1 + 1 + len(ROWS.split())
    assert funnel["words_read"] == 32 * 100 + words and funnel["words_train"] == 2800 and funnel["words_held_out"] == 300
    assert funnel["retention"] == f"{100 * 3100 / (3200 + words):.1f} %"
    assert (funnel["repaired"], funnel["ended"]) == (1, "end of the source")
    samples = [json.loads(line) for line in run.file("pretrain", "corpus_samples.jsonl").open()]
    assert [s["reason"] for s in samples] == ["duplicate", "wrong_language", "too_short", "too_short", "table", ""]
    assert samples[-1]["before"] == texts[-1] and samples[-1]["after"] == page(30)


def test_the_pack_goes_through_whole_and_keeps_its_split(tmp_path):
    run = a_run(tmp_path)
    funnel = prepare.prepare(run)
    for side, language in (("train", "ur"), ("replay", "en")):
        assert funnel[side]["retention"] == "100.0 %" and sum(funnel[side]["dropped"].values()) == 0
        assert texts_of(run, side) == [d.text for d in pack.corpus("ur", language, "train")]
        assert held_out(run, language) == pack.corpus("ur", language, "held_out")


def test_held_out_documents_are_chosen_by_content_not_by_order(tmp_path):
    texts = [page(n) for n in range(60)]
    runs = [a_run(tmp_path / name, order) for name, order in (("a", texts), ("b", texts[::-1]))]
    for run in runs:
        prepare.prepare(run)
    chosen = [{d.text for d in held_out(run, "ur")} for run in runs]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 6
    assert {d.split for d in held_out(runs[0], "ur")} == {"held_out"}
    assert sorted(texts_of(runs[0], "train") + list(chosen[0])) == sorted(texts)
    few = a_run(tmp_path / "c", texts, **{"corpus.held_out_documents": 2})
    prepare.prepare(few)
    assert {d.text for d in held_out(few, "ur")} < chosen[0] and len(held_out(few, "ur")) == 2


@pytest.mark.parametrize("first", ["held out", "near it"])
def test_what_is_near_a_held_out_document_is_dropped_in_either_order(tmp_path, first):
    texts = [page(n) for n in range(30)]
    held = min(texts, key=prepare._content)
    near_it = next(
        v for word in ("اور", "پھر", "تو", "بھی", "جب") if prepare._content(v := f"{held} {word}") > prepare._content(held)
    )
    texts.remove(held)
    pair = [held, near_it] if first == "held out" else [near_it, held]
    run = a_run(tmp_path, [*pair, *texts], **{"corpus.held_out_documents": 1})
    funnel = prepare.prepare(run)["train"]
    assert [d.text for d in held_out(run, "ur")] == [held] and sorted(texts_of(run, "train")) == sorted(texts)
    assert funnel["dropped"]["near_duplicate_of_held_out"] == 1 and funnel["dropped"]["near_duplicate"] == 0


def test_a_near_duplicate_of_a_training_document_is_dropped(tmp_path):
    texts = sorted((page(n) for n in range(30)), key=prepare._content)
    run = a_run(tmp_path, [*texts, texts[-1] + " اور"], **{"corpus.held_out_documents": 1})
    assert prepare.prepare(run)["train"]["dropped"]["near_duplicate"] == 1


def test_no_more_documents_are_read_than_asked_for(tmp_path):
    run = a_run(tmp_path, [page(n) for n in range(30)], **{"corpus.max_documents": 20})
    funnel = prepare.prepare(run)["train"]
    assert (funnel["documents_read"], funnel["documents_train"], funnel["ended"]) == (20, 18, "corpus.max_documents")


def test_english_is_read_until_there_is_enough(tmp_path):
    pages = [" ".join(f"the {a}{b}{c}w of this" for c in "abcdefghij" for b in "klmn") for a in map(chr, range(0x100, 0x150))]
    replay = written(tmp_path / "en.jsonl", pages)
    settings = {"corpus.replay": replay, "corpus.held_out_documents": 2}
    run = a_run(tmp_path, [page(n) for n in range(80)], **settings)
    funnel = prepare.prepare(run)
    # 78 of 80 pages of 100 words train; a quarter of the blocks, 2.5 words for one: 6,500 words, of pages of 160.
    assert funnel["train"]["words_train"] == 7800 and funnel["replay"]["ended"] == "enough for the share of replay"
    assert funnel["replay"]["documents_read"] == 41


def test_a_finished_preparation_is_used_and_a_half_one_done_again(tmp_path, monkeypatch):
    texts = [page(n) for n in range(30)]
    run = a_run(tmp_path, texts)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare, "_second_pass", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        prepare.prepare(run)
    assert not run.file("pretrain", "corpus").exists() and run.file("pretrain", "corpus.partial").exists()
    funnel = prepare.prepare(run)
    assert not run.file("pretrain", "corpus.partial").exists()
    (tmp_path / "corpus.jsonl").unlink()
    assert prepare.prepare(run) == funnel
    names = {path.name for path in run.file("pretrain", "corpus").iterdir()}
    assert names == {"train.jsonl", "replay.jsonl", "held_out_ur.jsonl", "held_out_en.jsonl"}


def test_a_source_of_which_nothing_is_left_says_why(tmp_path, monkeypatch):
    run = a_run(tmp_path, [ENGLISH] * 5)
    with pytest.raises(UserError, match=r"of 5 ur documents of .* 0 were left \(wrong_language 5\); expected 2 or more"):
        prepare.prepare(run)
    monkeypatch.setattr(prepare, "HOPELESS", 3)
    with pytest.raises(UserError, match="of 3 ur documents"):
        prepare.prepare(run)


def test_without_a_prepared_corpus_the_packs_documents_are_held_out(tmp_path):
    run = a_run(tmp_path)
    assert held_out(run, "en") == pack.corpus("ur", "en", "held_out")


# Rows


def test_blocks_are_the_docstrings_example():
    a, b, c = map(ord, "abc")
    assert list(blocks.blocks([Document("ab"), Document("c")], Letters(), 4)) == [[1, a, b, 2], [1, c, 2]]


@pytest.mark.parametrize("characters", [1, 1000, 200_000])
def test_no_token_is_lost_and_every_document_ends(monkeypatch, characters):
    monkeypatch.setattr(blocks, "BATCH_CHARACTERS", characters)
    documents = pack.corpus("ur", "ur", "train")
    rows = list(blocks.blocks(documents, Letters(), 100))
    tokens = [t for row in rows for t in row[1:]]
    assert tokens == [t for d in documents for t in [*map(ord, blocks.page_text(d)), 2]]
    assert all(row[0] == 1 for row in rows) and {len(row) for row in rows[:-1]} == {100} and len(rows[-1]) <= 100


def test_a_tokenizer_without_bos_gets_none():
    assert list(blocks.blocks([Document("ab")], Bare(), 2)) == [[97, 98], [2]]


def test_replay_is_spread_and_has_its_share():
    rows, replay = [[0]] * 90, [[1]] * 50
    mixed = list(blocks.interleave(rows, replay, 0.1))
    places = [i for i, row in enumerate(mixed) if row == [1]]
    assert len(mixed) == 100 and len(places) == 10
    assert {b - a for a, b in zip(places, places[1:], strict=False)} == {10}
    assert list(blocks.interleave(rows, replay, 0.0)) == rows
    assert list(blocks.interleave("rrrrrrrr", "EEEEE", 0.25)) == list("rrErrrErrrE")
    assert list(blocks.interleave("rr", "EEEEEEEE", 0.75)) == list("rEEErEEE")
    assert list(blocks.interleave("rrrrrr", "E", 0.5)) == list("rErrrrr")


def test_the_rows_hold_every_token_of_the_corpus_and_count_them(tmp_path):
    run = a_run(tmp_path)
    rows, counts = blocks.pretraining_rows(run, Letters())
    ids = rows["input_ids"]
    assert rows.column_names == ["input_ids"] and len(rows) == counts["rows"]
    assert counts["tokens"] == sum(map(len, ids))
    tokens = sum(len(blocks.page_text(d)) + 1 for d in pack.corpus("ur", "ur", "train"))
    urdu = -(-tokens // 255)
    assert counts["rows"] - counts["replay_rows"] == urdu and counts["replay_rows"] == blocks.wanted_replay(urdu, 0.25)
    english = [row for row in ids if max(row) < 0x600]
    assert len(english) == counts["replay_rows"] and counts["replay_rows_missing"] == 0
    assert sum(len(row) - 1 for row in ids) - sum(len(row) - 1 for row in english) == tokens


def test_english_that_runs_out_is_said(tmp_path):
    run = a_run(tmp_path, **{"corpus.replay_share": 0.8})
    rows, counts = blocks.pretraining_rows(run, Letters())
    english = sum(len(blocks.page_text(d)) + 1 for d in pack.corpus("ur", "en", "train"))
    assert counts["replay_rows"] == -(-english // 255)
    assert counts["replay_rows_missing"] == blocks.wanted_replay(len(rows) - counts["replay_rows"], 0.8) - counts["replay_rows"] > 0


def test_rows_are_the_same_for_the_same_run_and_lie_on_disk(tmp_path):
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows, _ = blocks.pretraining_rows(a_run(tmp_path / name), Letters())
        ids.append(rows["input_ids"][:])
    assert ids[0] == ids[1]
    assert [f["filename"] for f in rows.cache_files] == [str(tmp_path / "b/run/pretrain/rows/train.arrow")]


def test_finished_rows_are_used_and_another_tokenizer_makes_its_own(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    before, counts = blocks.pretraining_rows(run, Letters())
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "blocks", lambda *_: pytest.fail("made again"))
        again, same = blocks.pretraining_rows(run, Letters())
    assert (len(again), same) == (len(before), counts)
    bare, _ = blocks.pretraining_rows(run, Bare())
    assert bare[0]["input_ids"][0] != 1 == again[0]["input_ids"][0]


def test_the_held_out_rows_are_the_held_out_documents(tmp_path):
    run = a_run(tmp_path)
    rows = blocks.held_out_rows(run, Letters())
    tokens = [t for row in rows["input_ids"] for t in row[1:]]
    assert tokens == [t for d in pack.corpus("ur", "ur", "held_out") for t in [*map(ord, blocks.page_text(d)), 2]]
    assert len(blocks.held_out_rows(run, Letters(), "en")) > 0


def test_the_training_texts_are_those_of_the_language(tmp_path):
    assert list(blocks.training_texts(a_run(tmp_path))) == [blocks.page_text(d) for d in pack.corpus("ur", "ur", "train")]


def test_the_bench_writes_and_measures(tmp_path, capsys):
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
    import corpus as bench

    bench.write(tmp_path / "a.jsonl", 0.3)
    result = bench.measure(tmp_path / "a.jsonl", tmp_path / "run")
    assert result["documents"] > result["kept"] > 0 < result["row_count"]
    bench.show([{**result, "MB": 0.3}] * 2)
    assert "1 times the text: 1.0 times the CPU time, 1.00 times the peak memory" in " ".join(capsys.readouterr().out.split())
