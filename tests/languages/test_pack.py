"""pack: enough of everything, balanced, right by calculation, and in the form that the kit's own parser and filters accept."""

import re
from collections import Counter

import pytest

from alif_kit.core import config
from alif_kit.core.records import CATEGORIES
from alif_kit.languages import pack
from alif_kit.languages.text import comparison_tokens, identify_language, normalize, to_western_digits
from alif_kit.synth import planner
from alif_kit.synth.demo.compose import evaluate
from alif_kit.synth.demo.teacher import answer
from alif_kit.synth.novelty import NoveltyGate
from alif_kit.synth.parse import LABELLED, TAGS, parse, render

SEEDS = pack.seeds("ur")
SENTIMENT = ("مثبت", "منفی", "غیر جانبدار", "ملا جلا")


def ask(category, output_format="text"):
    return planner.compose(config.load("smoke"), 0, category, [], output_format)


def test_each_category_has_at_least_25_different_seeds():
    assert set(SEEDS) == set(CATEGORIES)
    assert all(len(seeds) >= 25 for seeds in SEEDS.values())
    ids = [seed.id for seeds in SEEDS.values() for seed in seeds]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("category", CATEGORIES)
def test_seeds_come_back_from_the_parser_as_they_are(category):
    tasks = [parsed.task for parsed in parse(render(SEEDS[category]), "stop", category)]
    assert [t.id for t in tasks] == [s.id for s in SEEDS[category]]
    assert [t.labels for t in tasks] == [s.labels for s in SEEDS[category]]


def test_no_seed_is_like_another():
    gate = NoveltyGate(0.7)
    for seed in (seed for seeds in SEEDS.values() for seed in seeds):
        assert gate.judge(seed)[0] == "", seed.instruction
        gate.add(seed)


def test_some_seeds_of_each_category_but_reasoning_bring_a_text():
    assert all(any(s.input for s in SEEDS[c]) for c in CATEGORIES if c != "reasoning")


def test_reasoning_comes_out():
    for seed in SEEDS["reasoning"]:
        lines = seed.output.splitlines()
        assert lines[0] == "استدلال:" and lines[-1].startswith("جواب:"), seed.instruction
        if "check" in seed.meta:
            assert evaluate(seed.meta["check"]) == int(seed.meta["answer"]), seed.instruction
            assert seed.meta["answer"] in re.findall(r"\d+", to_western_digits(lines[-1])), seed.instruction
    assert sum("check" in seed.meta for seed in SEEDS["reasoning"]) >= 15


def test_translation_is_balanced_over_its_four_combinations():
    combinations = Counter((s.meta["asked_in"], s.meta["source"], s.meta["target"]) for s in SEEDS["translation"])
    assert len(combinations) == 4 and max(combinations.values()) - min(combinations.values()) <= 1
    for seed in SEEDS["translation"]:
        [parsed] = parse(render([seed]), "stop", "translation")
        assert parsed.task.meta == seed.meta


def test_sentiment_is_balanced_over_its_four_labels():
    assert {s.labels for s in SEEDS["sentiment"]} == {SENTIMENT}
    outputs = Counter(s.output for s in SEEDS["sentiment"])
    assert set(outputs) == set(SENTIMENT) and max(outputs.values()) - min(outputs.values()) <= 1


def test_classification_has_many_label_sets_and_no_favourite_place():
    seeds = SEEDS["classification"]
    assert len({s.labels for s in seeds}) >= 8
    places = Counter(s.labels.index(s.output) for s in seeds)
    assert len(places) >= 3 and places[0] <= len(seeds) / 2


def test_ethics_covers_twelve_kinds_of_harm_and_answers_at_length():
    assert len({s.meta["harm"] for s in SEEDS["ethics"]}) >= 12
    assert all(len(s.output.split()) >= 30 for s in SEEDS["ethics"])


@pytest.mark.parametrize("language, least", [("ur", 120), ("en", 60)])
def test_the_corpus_is_large_enough_and_split_by_document(language, least):
    documents = pack.corpus("ur", language)
    assert len(documents) >= least and len({d.title for d in documents}) == len(documents)
    assert all(80 <= len(d.text.split()) <= 200 for d in documents)
    assert len({d.topic for d in documents}) >= 7
    held_out = [d for d in documents if d.split == "held_out"]
    assert len(documents) / 10 <= len(held_out) <= len(documents) / 4
    assert {identify_language(d.text) for d in documents} == {language}


def test_no_held_out_document_shares_a_long_run_of_words_with_training():
    for language in ("ur", "en"):
        runs = {split: set() for split in ("train", "held_out")}
        for document in pack.corpus("ur", language):
            words = comparison_tokens(document.text)
            runs[document.split] |= {tuple(words[i : i + 8]) for i in range(len(words) - 7)}
        assert not runs["train"] & runs["held_out"]


def test_topics_registers_and_regions_are_many_and_different():
    lists = pack.topics("ur")
    for name, least in (("topics", 150), ("registers", 8), ("regions", 20)):
        assert len(set(lists[name])) == len(lists[name]) >= least


def test_every_text_of_the_pack_is_normalised_urdu():
    texts = [text for s in sum(SEEDS.values(), ()) for text in (s.instruction, s.input, s.output, *s.labels)]
    texts += [text for d in pack.corpus("ur", "ur") for text in (d.title, d.text)]
    texts += [text for values in pack.topics("ur").values() for text in values]
    assert [text for text in texts if normalize(text) != text] == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_format_a_prompt_shows_is_the_one_the_parser_reads(category):
    prompt = ask(category).messages[-1]["content"]
    shown = parse(prompt, "stop", category)
    seeds = {s.id for s in SEEDS[category]}
    assert len(seeds & {p.task.id for p in shown if p.task}) >= 3
    assert (TAGS["labels"] in prompt) == (category in LABELLED)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_prompt_for_json_shows_json_and_asks_for_the_schemas_keys(category):
    prompt = ask(category, "json_schema").messages[-1]["content"]
    assert '"tasks"' in prompt and ('"labels"' in prompt) == (category in LABELLED)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_embedded_teacher_answers_the_real_prompts(category):
    request = ask(category)
    text = answer({"model": "any", "messages": request.messages})["choices"][0]["message"]["content"]
    assert sum(parsed.task is not None for parsed in parse(text, "stop", category)) == request.count


def test_prompts_spread_over_topics_and_are_urdu():
    prompts = {ask_number: planner.compose(config.load("smoke"), ask_number, "qa", []) for ask_number in range(20)}
    texts = [request.messages[-1]["content"] for request in prompts.values()]
    named = {topic for topic in pack.topics("ur")["topics"] if any(topic in text for text in texts)}
    assert len(named) >= 50
    assert identify_language(texts[0]) == "ur"
