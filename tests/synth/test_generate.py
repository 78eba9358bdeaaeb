"""generate: the data set depends on seed and answers alone; what is paid is never lost nor asked twice."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import PATIENCE

from alif_kit.core import config
from alif_kit.core.errors import StoppedError, UserError
from alif_kit.core.records import Example, read_jsonl
from alif_kit.core.run import Run
from alif_kit.languages import pack
from alif_kit.synth import filters, generate
from alif_kit.synth.dataset import finish
from alif_kit.synth.demo.teacher import DemoTeacher, Faults
from alif_kit.synth.split import split

DERIVED = ("pool.jsonl", "dropped.jsonl", "funnel.json")


def settings(url="demo", total=60, **changes):
    teacher = {"teacher.base_url": url, "teacher.model": "alif-demo-teacher", "teacher.timeout_s": PATIENCE}
    return config.load("smoke", {**teacher, "synth.targets": config.targets_of(total), **changes})


def derived(run):
    return [run.file("synth", name).read_bytes() for name in DERIVED]


def make(path, url, **changes):
    run = Run.open(path, settings(url, **changes))
    generate.generate(run)
    return run


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run of 60 examples, one request at a time."""
    with DemoTeacher() as teacher:
        run = make(tmp_path_factory.mktemp("reference") / "r", teacher.base_url, **{"teacher.concurrency": 1})
        return run, teacher.stats["requests"]


def test_every_category_reaches_its_target(reference):
    run, _ = reference
    pool = list(read_jsonl(run.file("synth", "pool.jsonl"), Example))
    for category, target in run.config.synth.targets.items():
        assert sum(e.category == category for e in pool) == target
    assert len({e.id for e in pool}) == len(pool)


def test_the_funnel_counts_every_candidate(reference):
    run, requests = reference
    funnel = json.loads(run.file("synth", "funnel.json").read_text())
    dropped = list(read_jsonl(run.file("synth", "dropped.jsonl")))
    assert funnel["candidates"] == funnel["accepted"] + len(dropped) == sum(funnel["reasons"].values())
    assert funnel["requests"] == requests == len(generate.read_journal(run))


@pytest.mark.parametrize("concurrency", [3, 8, 64])
def test_concurrency_changes_nothing(reference, tmp_path, concurrency):
    with DemoTeacher() as teacher:
        run = make(tmp_path / "r", teacher.base_url, **{"teacher.concurrency": concurrency})
        assert derived(run) == derived(reference[0])
        assert teacher.stats["requests"] == reference[1]


def test_sixty_four_really_in_flight_change_nothing(tmp_path):
    wide = {"synth.window": 64, "synth.tasks_per_call": 2, "synth.targets": config.targets_of(150)}
    with DemoTeacher(faults=Faults(latency_s=0.02)) as teacher:
        runs = [make(tmp_path / str(n), teacher.base_url, **wide, **{"teacher.concurrency": n}) for n in (1, 8, 64)]
    assert derived(runs[0]) == derived(runs[1]) == derived(runs[2])


def test_the_first_requests_show_seeds_only_and_later_ones_machine_examples_too(reference):
    rows = sorted(generate.read_journal(reference[0]).values(), key=lambda row: row["request"])
    seeds = {s.id for tasks in pack.seeds("ur").values() for s in tasks}
    assert all(len(row["seeds_shown"]) == 4 and set(row["seeds_shown"]) <= seeds for row in rows)
    assert rows[0]["machine_shown"] == []
    later = [row for row in rows if row["machine_shown"]]
    assert later and all(len(row["machine_shown"]) == 2 for row in later)


def test_examples_carry_their_provenance(reference):
    run, _ = reference
    journal = generate.read_journal(run)
    for example in read_jsonl(run.file("synth", "pool.jsonl"), Example):
        row = journal[example.provenance.request]
        assert example.provenance.prompt_hash == row["prompt_hash"] and example.provenance.item >= 1
        assert example.provenance.teacher == "alif-demo-teacher"
        assert list(example.provenance.seeds_shown) == row["seeds_shown"]


def test_a_rebuild_costs_nothing_and_gives_the_same(reference):
    run, _ = reference
    before = derived(run)
    for name in DERIVED:
        run.file("synth", name).unlink()
    generate.rebuild(run)
    assert derived(run) == before


@pytest.mark.parametrize("kind", Faults.TRANSPORT)
def test_faults_of_the_server_change_nothing(reference, tmp_path, kind):
    with DemoTeacher(faults=Faults(**{kind: 0.3}, retry_after_s=0.01)) as teacher:
        run = make(tmp_path / "r", teacher.base_url, **{"teacher.max_attempts": 20})
        assert derived(run) == derived(reference[0])
        assert teacher.stats["requests"] > reference[1]


@pytest.mark.parametrize("kind", Faults.CONTENT)
def test_a_misbehaving_teacher_gets_nothing_malformed_in(tmp_path, kind):
    expected = {"refusing": "malformed", "duplicates": "not_novel", "wrong_language": "wrong_language"}.get(kind, kind)
    with DemoTeacher(faults=Faults(**{kind: 0.3})) as teacher:
        run = make(tmp_path / "r", teacher.base_url)
    funnel = json.loads(run.file("synth", "funnel.json").read_text())
    assert expected in funnel["reasons"]
    pool = list(read_jsonl(run.file("synth", "pool.jsonl"), Example))
    assert len(pool) == sum(run.config.synth.targets.values())
    assert [filters.first_reason(example) for example in pool] == [""] * len(pool)


def test_a_stalled_category_stops_with_advice(tmp_path):
    with DemoTeacher(faults=Faults(refusing=1.0)) as teacher, pytest.raises(StoppedError, match="malformed.*dropped.jsonl"):
        make(tmp_path / "r", teacher.base_url, **{"synth.targets": {"qa": 5}})


def test_a_dead_endpoint_stops_in_a_sentence(tmp_path):
    changes = {"teacher.max_attempts": 2, "teacher.timeout_s": 1.0}
    with pytest.raises(StoppedError, match="what is paid is saved"):
        make(tmp_path / "r", "http://127.0.0.1:9/v1", **changes)


def test_the_same_run_with_another_seed_is_refused(reference):
    run, _ = reference
    with pytest.raises(UserError, match="seed = 3407"):
        Run.open(run.path, settings(run.config.teacher.base_url, seed=1))


SCRIPT = """
import sys
from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.synth import filters, generate
generate.generate(Run.resume(sys.argv[1]))
"""


def kill_and_resume(path, teacher, kills, seed):
    """SIGKILL generation at random moments, then let it finish."""
    draw = random.Random(seed)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], stderr=subprocess.DEVNULL)
        started = teacher.stats["requests"]
        until = time.monotonic() + PATIENCE
        while teacher.stats["requests"] == started and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True)


def test_a_full_disk_is_a_sentence_and_nothing_is_half_written(reference, tmp_path):
    with DemoTeacher() as teacher:
        run = Run.open(tmp_path / "r", settings(teacher.base_url))
        command = [sys.executable, "-m", "alif_kit.cli", "generate", "--run", str(run.path)]
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); from alif_kit.cli.main import main; import sys; sys.argv = {command[2:]!r}; main()"
        full = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
        assert full.returncode == 1 and "Traceback" not in full.stderr
        assert "what was written before is whole" in full.stderr.splitlines()[-1]
        assert not list(run.path.rglob("*.partial")) and len(generate.read_journal(run)) > 0
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert derived(run) == derived(reference[0])
        assert teacher.stats["requests"] <= reference[1] + run.config.synth.window


def killed_equals_uninterrupted(reference, tmp_path, kills):
    with DemoTeacher(faults=Faults(latency_s=0.05)) as teacher:
        run = Run.open(tmp_path / "r", settings(teacher.base_url))
        kill_and_resume(run.path, teacher, kills, seed=kills)
        assert derived(run) == derived(reference[0])
        assert teacher.stats["requests"] <= reference[1] + kills * run.config.synth.window


def test_killed_and_resumed_equals_uninterrupted(reference, tmp_path):
    killed_equals_uninterrupted(reference, tmp_path, kills=4)


@pytest.mark.slow
def test_fifty_kills(reference, tmp_path):
    killed_equals_uninterrupted(reference, tmp_path, kills=50)


MEMORY = """
import re, sys
from pathlib import Path
from alif_kit.core import config
from alif_kit.core.run import Run
from alif_kit.synth import dataset, generate
changes = {"synth.targets": config.targets_of(50_000), "synth.novelty_threshold": 1.0, "synth.tasks_per_call": 100, "synth.window": 16}
run = Run.open(sys.argv[1], config.load("smoke", {**changes, "teacher.base_url": sys.argv[2]}))
funnel = generate.generate(run)
dataset.finish(run)
# VmHWM is this program's own peak; ru_maxrss would count that of the process it was started from.
print(funnel["accepted"], int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) // 1024)
"""


@pytest.mark.slow
def test_fifty_thousand_rows_fit_in_a_gibibyte(tmp_path):
    with DemoTeacher() as teacher:
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "r"), teacher.base_url]
        rows, mebibytes = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert rows == sum(config.targets_of(50_000).values()) and mebibytes < 1024


def test_the_split_is_stratified_and_stable(reference):
    run, _ = reference
    pool = list(read_jsonl(run.file("synth", "pool.jsonl"), Example))
    train, held = split(pool, 0.15, seed=1)
    assert sorted(e.id for e in train + held) == sorted(e.id for e in pool)
    for category, target in run.config.synth.targets.items():
        assert sum(e.category == category for e in held) == max(1, round(target * 0.15))
    assert split(list(reversed(pool)), 0.15, seed=1)[1][::-1] == held
    assert split(pool, 0.15, seed=2)[1] != held


def test_the_card_says_what_the_run_made(reference):
    run, _ = reference
    counts = finish(run)
    card = run.file("data", "card.md").read_text()
    funnel = json.loads(run.file("synth", "funnel.json").read_text())
    assert card.startswith("---\nlanguage: [ur, en]\nlicense: other")
    assert f"| qa | {counts['train']['qa']} | {counts['eval']['qa']} |" in card
    assert f"Of {funnel['candidates']} candidates" in card
