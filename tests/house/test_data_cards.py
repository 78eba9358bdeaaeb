"""Data cards: each data set that the kit names has one, its header is what the Hub reads, and what it says of our own files is so.

Each check takes the cards of a folder and returns sentences, one for each fault, with what to write instead. It needs no torch.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, DatasetCardData

from alif_kit.corpus import sources
from alif_kit.languages.contamination import EvaluationSets

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "data_cards"
SECTIONS = """What it is|Source and revision|Licence|Size|Languages|How it was made|Known errors and biases|Personal data
How the kit uses it|Checksum or revision""".replace("\n", "|").split("|")
# The Hub's licence identifiers that data sets bear (docs/hub/repositories-licenses.md of huggingface/hub-docs).
LICENCES = set(
    re.findall(
        r"\S+",
        """apache-2.0 mit openrail afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl etalab-2.0 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-3.0 mpl-2.0 odc-by odbl pddl lgpl-lr unlicense unknown other""",
    )
)
TASKS = set(
    re.findall(
        r"\S+",
        """text-classification token-classification table-question-answering question-answering zero-shot-classification translation
summarization feature-extraction text-generation fill-mask sentence-similarity multiple-choice text-retrieval""",
    )
)
LANGUAGES = {"ur", "en", "fa", "ar", "ps", "sd", "pnb"}
BUCKETS = {1000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
# How docs/corpus.md writes a card's licence.
IN_WORDS = {"cc-by-sa-3.0": "CC BY-SA 3.0", "gfdl": "GFDL", "odc-by": "ODC-By", "mc4-and-oscar": "licences of mC4 and OSCAR"}
# Where lm-eval keeps the tasks of task_lists.toml.
LM_EVAL = {
    "belebele_urd_Arab": "belebele/_default_template_yaml",
    "include_base_44_urdu": "include/default/Urdu/_urdu_template_yaml",
    "xnli_ur": "xnli/xnli_common_yaml",
    "multiblimp_urd": "multiblimp/_template_yaml",
    "global_piqa_nonparallel_cloze_urd_arab": "global_piqa/nonparallel_cloze/_template",
    "mmlu_prox_lite_ur": "mmlu_prox/ur/_ur_lite_template_yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_easy.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "winogrande": "winogrande/default.yaml",
    "piqa": "piqa/piqa.yaml",
}


def toml(path):
    return tomllib.loads((ROOT / "alif_kit" / path).read_text("utf-8"))


def cards(folder):
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.md")) if path.stem != "README"}


def header(text):
    return DatasetCard(text).data.to_dict()


def many(value):
    return value if isinstance(value, list) else [value]


def sections(text):
    return dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))


def table(text):
    """Cells of the table rows in a text, without head and rule."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return rows[1:]


def index(folder):
    """Of each row of README.md: the card, the kit's names, the licences, the use."""
    rows = [
        re.split(r"\s*\|\s*", line)[1:5]
        for line in (folder / "README.md").read_text("utf-8").splitlines()
        if line.startswith("| [")
    ]
    return {
        re.search(r"\((\w+)\.md\)", card)[1]: (set(re.findall("`([^`]+)`", names)), licence.split(", "), use)
        for card, names, licence, use in rows
    }


def bucket(rows):
    return next(name for most, name in BUCKETS.items() if rows < most)


def rows_of(path):
    text = path.read_text("utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def names_of_the_kit():
    """Every source, set and task that mixture.toml, docs/corpus.md, suites.toml, task_lists.toml and our tasks name."""
    suites = toml("evaluation/suites.toml")
    found = set(toml("training/mixture.toml")["sources"]) | {row[1].split("`")[1] for row in corpus_rows()}
    for suite in suites.values():
        found |= set(suite["sets"]) | set(suite.get("data", {}).values())
    for name, tasks in toml("evaluation/task_lists.toml").items():
        found |= {name, *tasks}
    yamls = (path.read_text("utf-8") for path in (ROOT / "alif_kit/evaluation/tasks").glob("*.yaml"))
    return found | {hub for text in yamls for hub in re.findall(r"^dataset_path: (\S+/\S+)", text, re.MULTILINE)}


def corpus_rows():
    """Rows of the first table of docs/corpus.md that name a data set, not a form."""
    rows = table((ROOT / "docs/corpus.md").read_text("utf-8").split("\n```")[0])
    return [row for row in rows if not row[0].startswith(("any other", "your own"))]


def header_faults(name, text):
    data = header(text)
    DatasetCardData(**data)
    yield from (
        f"{name}: no {key}" for key in ("pretty_name", "language", "license", "task_categories", "tags") if not data.get(key)
    )
    allowed = {"license": LICENCES, "task_categories": TASKS, "language": LANGUAGES, "size_categories": BUCKETS.values()}
    for key, known in allowed.items():
        yield from (f"{name}: {key} {value!r} is not known" for value in many(data.get(key, [])) if value not in known)
    if "other" in many(data["license"]) and not re.fullmatch(r"[a-z0-9.-]+", str(data.get("license_name"))):
        yield f"{name}: licence other without a license_name"
    if f"\n# {data['pretty_name']}\n" not in text:
        yield f"{name}: the title is not the pretty_name"
    if list(sections(text)) != SECTIONS:
        yield f"{name}: its sections are {list(sections(text))}"
    yield from (f"{name}: nothing under {head}" for head, body in sections(text).items() if not body.strip())


def size_faults(name, text):
    """The size in the header is that of the text: stated, or counted in our files, or neither there nor here."""
    body = sections(text)["Size"]
    stated = re.search(r"^Rows: (?:about |at least )?([\d,]+)", body)
    if not stated and not body.startswith(("Rows: not confirmed", "Counted")):
        yield f"{name}: Size begins with neither a number of rows, nor not confirmed, nor a count"
    numbers = [stated[1]] if stated else [number for _, what, number in table(body) if what == "rows"] if "Counted" in body else []
    expected = [bucket(sum(int(n.replace(",", "")) for n in numbers))] if numbers else []
    if many(header(text).get("size_categories", [])) != expected:
        yield f"{name}: size_categories should be {expected}"


def file_faults(name, text):
    """Counts and checksums of files in this repository, computed again."""
    for file, digest in re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", text, re.MULTILINE):
        right = hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
        if digest != right:
            yield f"{name}: write | `{file}` | `{right}` |"
    for file, what, number in re.findall(r"^\| `([^`]+)` \| ((?:rows|words of).*) \| ([\d,]+) \|$", text, re.MULTILINE):
        right = f"{count(rows_of(ROOT / file), what):,}"
        if number != right:
            yield f"{name}: write | `{file}` | {what} | {right} |"


def count(rows, what):
    field, *value = re.findall("`([^`]+)`", what) or [""]
    if what.startswith("words"):
        return sum(len(row[field].split()) for row in rows)
    return Counter(str(row[field]) for row in rows)[value[0]] if value else len(rows)


def licence_faults(folder):
    """mixture.toml, docs/corpus.md, LICENSE-DATA and the index say what the cards say."""
    texts, rows = cards(folder), index(folder)
    for name, source in toml("training/mixture.toml")["sources"].items():
        for card in (card for card, (names, *_) in rows.items() if name in names and card in texts):
            data = header(texts[card])
            if data["license"] != (source["licence"] if source["licence"] in LICENCES else "other"):
                yield f"{card}: license {data['license']!r}, but mixture.toml says {source['licence']!r}"
            if f'The kit\'s table says: "{source["licence"]}".' not in sections(texts[card])["Licence"]:
                yield f"{card}: its Licence does not begin with what mixture.toml says"
    for row in corpus_rows()[1:]:  # the pack's own comes first
        for card in (card for card, (names, *_) in rows.items() if row[1].split("`")[1] in names and card in texts):
            data = header(texts[card])
            said = [data.get("license_name", x) for x in many(data["license"])]
            yield from (f"{card}: docs/corpus.md does not say {x}" for x in said if IN_WORDS.get(x, "?") not in row[3])
    for card, text in texts.items():
        if "| SHA-256 |" in text and header(text)["license"] != "cc-by-4.0":
            yield f"{card}: our own files, and not cc-by-4.0 as LICENSE-DATA says"
        if many(header(text)["license"]) != rows.get(card, (0, 0, 0))[1]:
            yield f"{card}: the index gives another licence"


def index_faults(folder):
    """Names without a card, cards without a row, rows without a card; and a card says the kit's name for it and what it is used for."""
    texts, rows = cards(folder), index(folder)
    yield from (f"{card}.md is not there" for card in rows if card not in texts)
    yield from (f"{card}.md is not in the index" for card in texts if card not in rows)
    covered = {name for card, (names, *_) in rows.items() if card in texts for name in names}
    yield from (f"{name} has no card" for name in sorted(names_of_the_kit() - covered))
    for card, (names, _, use) in rows.items():
        yield from (
            f"{card}: does not name `{name}`" for name in names if f"`{name}`" not in " ".join(texts.get(card, f"`{name}`").split())
        )
        said = " ".join(sections(texts[card])["How the kit uses it"].split()).lower() if card in texts else use
        yield from (f"{card}: the index says {word}" for word in use.split(", ") if word not in said)


def faults(folder):
    found = [
        fault for check in (header_faults, size_faults, file_faults) for item in cards(folder).items() for fault in check(*item)
    ]
    return found + list(licence_faults(folder)) + list(index_faults(folder))


def test_the_cards_are_true():
    assert faults(CARDS) == []


def test_every_data_file_of_ours_is_in_one_card():
    files = [*(ROOT / "alif_kit/languages").rglob("*.json*"), *(ROOT / "bench/data").glob("*.jsonl")]
    files += (ROOT / "alif_kit/languages").rglob("topics.toml")
    listed = re.findall(r"^\| `([^`]+)` \| `[0-9a-f]{64}` \|$", "".join(cards(CARDS).values()), re.MULTILINE)
    assert Counter(listed) == Counter(str(path.relative_to(ROOT)) for path in files)


def test_counts_by_field_are_complete():
    for name, text in cards(CARDS).items():
        totals, parts = {}, Counter()
        for file, what, number in (row for row in table(sections(text)["Size"]) if len(row) == 3 and row[1].startswith("rows")):
            field = re.search("`([^`]+)` is", what)
            number = int(number.replace(",", ""))
            parts.update({(file, field[1]): number} if field else {})
            totals |= {} if field else {file: number}
        assert {key: n for key, n in parts.items() if n != totals[key[0]]} == {}, name


def test_the_tables_of_public_tasks_say_where_lm_eval_reads():
    spec, lists = find_spec("lm_eval"), toml("evaluation/task_lists.toml")
    assert set(LM_EVAL) == {task for tasks in lists.values() for task in tasks}
    for card in ("lm_eval_urdu", "lm_eval_english"):
        text = cards(CARDS)[card]
        rows = {row[0].strip("`"): row for row in table(sections(text)["Source and revision"])}
        assert set(rows) == set(lists["urdu" if card.endswith("urdu") else "retention"])
        assert sorted({row[2] for row in rows.values()}) == header(text)["license"]
        for task, row in rows.items():
            if spec:
                yaml = Path(spec.submodule_search_locations[0], "tasks", LM_EVAL[task]).read_text("utf-8")
                assert re.search(r"^dataset_path: (\S+)", yaml, re.MULTILINE)[1] == row[1].split("`")[1], task


def test_what_the_cards_say_besides():
    for language in ("ur", "en"):
        hub = sources.WIKIPEDIA.format(language=language)
        assert f"`{hub}`" in cards(CARDS)[f"wikipedia_{language}"]
    terms = (ROOT / "LICENSE-DATA").read_text("utf-8")
    assert "CC BY 4.0" in terms and "alif_kit/languages/" in terms and "bench/data/" in terms
    pages = {path: path.read_text("utf-8") for path in CARDS.glob("*.md")}
    links = [(path, link) for path, text in pages.items() for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    assert [link for path, link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("language", ["ur", "pnb"])
def test_seeds_and_sample_corpus_do_not_overlap_with_the_pack_s_questions(language):
    pack = ROOT / "alif_kit/languages" / language
    sets = EvaluationSets(str(path) for path in sorted((pack / "evaluation").glob("*.json*")))
    asked = rows_of(pack / "evaluation/word_problems.jsonl")[0]["question"]
    assert sets.overlap(asked).endswith("word_problems.jsonl")
    texts = (row for folder in ("seeds", "corpus") for path in (pack / folder).iterdir() for row in rows_of(path))
    assert [row for row in texts if sets.overlap(*(value for value in row.values() if isinstance(value, str)))] == []


@pytest.mark.parametrize(
    ("card", "old", "new", "fault"),
    [
        ("openorca", "license: mit", "license: apache-2.0", "openorca: license 'apache-2.0', but mixture.toml says 'mit'"),
        ("openorca", "license: mit", "license: mit-like", "openorca: license 'mit-like' is not known"),
        ("openorca", "language: [en]", "language: [english]", "openorca: language 'english' is not known"),
        ("alpaca_en", "10K<n<100K", "1K<n<10K", "alpaca_en: size_categories should be ['10K<n<100K']"),
        ("urdu_alpaca", "license_name:", "name:", "urdu_alpaca: licence other without a license_name"),
        ("uls_wsd", 'says: "free', 'says: "very free', "uls_wsd: its Licence does not begin with what mixture.toml says"),
        ("fineweb2_ur", "license: odc-by", "license: odbl", "fineweb2_ur: docs/corpus.md does not say odbl"),
        ("urdu_news", "## Personal data", "## People", "urdu_news: its sections are"),
        ("urdu_mmlu", "`MBZUAI/UrduMMLU`", "UrduMMLU", "urdu_mmlu: does not name `MBZUAI/UrduMMLU`"),
        ("mgsm_ur", "**Measured only**", "**Trained on**", "mgsm_ur: the index says measured"),
        ("README", ", `piqa`", "", "piqa has no card"),
        ("README", "| `uls_wsd` |", "| |", "uls_wsd has no card"),
        ("seeds", "license: cc-by-4.0", "license: mit", "seeds: our own files, and not cc-by-4.0 as LICENSE-DATA says"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, card, old, new, fault):
    page = shutil.copytree(CARDS, tmp_path / "cards") / f"{card}.md"
    assert old in page.read_text("utf-8")
    page.write_text(page.read_text("utf-8").replace(old, new), "utf-8")
    assert [found for found in faults(page.parent) if found.startswith(fault)]


def test_a_missing_card_is_found(tmp_path):
    folder = shutil.copytree(CARDS, tmp_path / "cards")
    (folder / "urdu_news.md").unlink()
    (folder / "stray.md").write_text((CARDS / "openorca.md").read_text("utf-8"), "utf-8")
    found = faults(folder)
    assert {"urdu_news.md is not there", "urdu_news has no card", "stray.md is not in the index"} <= set(found)


def test_a_stale_count_and_a_stale_checksum_are_found_with_the_right_line(tmp_path, monkeypatch):
    name, card = "bench/data/language_id.jsonl", cards(CARDS)["language_id"]
    copy, before = tmp_path / name, rows_of(ROOT / name)
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / name).read_text("utf-8") + '{"text": "سلام", "language": "ur"}\n', "utf-8")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert sorted(file_faults("language_id", card)) == [
        f"language_id: write | `{name}` | `{hashlib.sha256(copy.read_bytes()).hexdigest()}` |",
        f"language_id: write | `{name}` | rows | {len(before) + 1} |",
        f"language_id: write | `{name}` | rows, `language` is `ur` | {sum(row['language'] == 'ur' for row in before) + 1} |",
    ]


def test_these_checks_need_no_torch():
    script = "import sys, test_data_cards as t; assert t.faults(t.CARDS) == []; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
