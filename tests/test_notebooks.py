"""Guards on the lessons, each shown to see the fault that it is for. That the lessons run is for test_course.py."""

import json
import subprocess
import sys

import api_guards
import jupytext
import lesson_guards
import notebook_guards
import pytest

ROOT = notebook_guards.ROOT
LESSONS = sorted((ROOT / "notebooks").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUARDS = {
    name: getattr(module, name)
    for module, names in {
        notebook_guards: "in_step clean platforms plain narrow discreet parameters install agreed",
        lesson_guards: "opening checked closing known_names",
    }.items()
    for name in names.split()
} | {"calls": lambda source: api_guards.lesson_calls(source).said}

JUPYTEXT = min(notebook_guards.pins(ROOT)["jupytext"])
GOOD = (ROOT / "tests" / "data" / "example_lesson.txt").read_text("utf-8").replace("VERSION", JUPYTEXT)


@pytest.fixture
def lesson(tmp_path):
    """The small lesson and its twin, without a fault."""
    source = tmp_path / "09_example.py"
    source.write_text(GOOD, "utf-8")
    jupytext.write(jupytext.read(source), source.with_suffix(".ipynb"))
    return source


def test_there_are_six_lessons():
    assert [path.stem[:2] for path in LESSONS] == ["00", "01", "02", "03", "04", "05"]


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_keeps(source, guard):
    assert GUARDS[guard](source) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pins_in_a_page_are_the_pins(page):
    assert notebook_guards.agreed(page) == []


@pytest.mark.parametrize("guard", GUARDS)
def test_a_good_lesson_passes(lesson, guard):
    assert GUARDS[guard](lesson) == []


CELL = "\n# %%\ntotal = 0\n"  # a place of the small lesson in which to plant
SIXTEEN = "print(1)\n" * 16
FAULTS = [
    ("in_step", "a count.", "a number.", "09_example.ipynb is not in step"),
    ("in_step", f"jupytext_version: {JUPYTEXT}", "jupytext_version: 1.16.0", "jupytext is 1.16.0"),
    ("plain", CELL, "\n# %%\ntotal = = 0\n", "does not parse"),
    ("plain", CELL, f"\n# %%\ndef f():\n    pass\n{CELL}", "defines a function"),
    ("plain", CELL, f"\n# %%\nclass A:\n    pass\n{CELL}", "defines a function"),
    ("plain", CELL, f"\n# %%\nf = lambda: 1\n{CELL}", "defines a function"),
    ("plain", CELL, f"\n# %%\nif False:\n    print(1)\n{CELL}", "never runs"),
    ("plain", CELL, f"\n# %%\n{CELL}", "is empty"),
    ("plain", CELL, f"\n# %% [markdown]\n#\n{CELL}", "is empty"),
    ("plain", CELL, f"\n# %%\n# print(1)\n{CELL}", "is only comments"),
    ("plain", CELL, f"\n# %%\nprint(MODE)\n\n# %%\nprint( MODE )  # again\n{CELL}", "stands twice"),
    ("narrow", CELL, f"\n# %%\n{SIXTEEN}{CELL}", "has 16 lines"),
    ("narrow", "A count.", f"A {'very ' * 17}long count.", "a line of "),
    ("discreet", "A count.", "A count. sk-" + "a1" * 12, "a secret: sk-"),
    ("discreet", CELL, f"\n# %%\nkey = 'hf_{'Ab' * 12}'\n{CELL}", "a secret: hf_"),
    ("discreet", CELL, f"\n# %%\nkey = 'AIza{'Sy' * 12}'\n{CELL}", "a secret: AIza"),
    ("discreet", CELL, f"\n# %%\nplace = '/content/drive'\n{CELL}", "an absolute path: /content"),
    ("discreet", CELL, f"\n# %%\nplace = '/tmp/x'\n{CELL}", "an absolute path: /tmp"),
    ("discreet", CELL, f"\n# %%\nplace = 'C:\\\\data'\n{CELL}", "an absolute path: C:"),
    ("parameters", '# %% tags=["parameters"]', "# %%", "0 cells are tagged parameters"),
    ("parameters", CELL, f'\n# %% tags=["parameters"]\nX = 1\n{CELL}', "2 cells are tagged parameters"),
    ("parameters", "RUN_DIR =", "RUN =", "the parameters are MODE, RUN, HOURS"),
    (
        "parameters",
        "OVERRIDES =",
        "".join(f'{n} = 1  # @param {{type:"integer"}}\n' for n in "ABC") + "OVERRIDES =",
        "at most four",
    ),
    ("parameters", "HOURS = 0.0", "HOURS = 1 / 2", "HOURS is no literal"),
    ("parameters", 'HOURS = 0.0  # @param {type:"number"}', "HOURS = 0.0", "HOURS: 'nothing' is no form"),
    ("parameters", '{type:"number"}', "{type:number}", "is no form comment that Colab reads"),
    ("parameters", '{type:"number"}', '{type:"boolean"}', "0.0 is not of the form's type boolean"),
    ("parameters", '{type:"number"}', '{type:"float"}', "0.0 is not of the form's type float"),
    ("parameters", '["auto", "smoke"]', "['auto', 'smoke']", "is no form comment that Colab reads"),
    ("parameters", " {allow-input: true}", "", "'of my own' is not among"),
    ("install", '# %% tags=["install"]', "# %%", "tagged install are []"),
    ("install", CELL, f'\n# %% tags=["install"]\ntotal = 1\n{CELL}', "tagged install are [2, "),
    ("agreed", f'"jupytext=={JUPYTEXT}"', '"jupytext==1.2.3"', f"jupytext==1.2.3 is not the pin: {JUPYTEXT}"),
    ("agreed", CELL, "\n# %%\n# pip install left-pad==1.0\ntotal = 0\n", "left-pad==1.0 is not the pin: none"),
    ("opening", "# # 09 · Example", "# # Example", "does not begin with `# 09"),
    ("opening", "# <!-- /badges -->\n", "", "no place for badges"),
    ("opening", 'dir="rtl" ', "", "no Urdu summary"),
    ("opening", "یہ ایک چھوٹا سا سبق ہے جس میں کوئی غلطی نہیں۔ اسے پڑھیں اور چلا کر دیکھیں۔", "URDU", "no Urdu summary"),
    ("opening", "یہ ایک", "يہ ايك", "letters of Arabic: U+0643, U+064A"),
    ("opening", "**What you will have:**", "**You get:**", "lacks **What you will have"),
    ("opening", "**Time, memory, cost:**", "**Cost:**", "lacks **Time"),
    ("opening", "one minute", "some time", "names no minutes"),
    ("opening", "1 GB of", "little", "names no GB"),
    ("opening", "$0.00", "nothing", "names no dollars"),
    ("checked", "# ## Check", "# ## Look", "0 cells begin with `## Check`"),
    ("checked", "assert ", "print() or ", "not followed by code with an assert"),
    ("checked", ', "the run has no configuration"', "", "an assert without a sentence"),
    ("checked", "assert total > 0", "assert True", "an assert that cannot fail"),
    ("closing", "## What you have now", "## The end", "the last cell does not begin"),
    ("closing", "(09_example.ipynb)", "(10_gone.ipynb)", "10_gone.ipynb, which is not there"),
    ("known_names", CELL, "\n# %%\n", "total is used before it is bound"),
    ("known_names", CELL, f"\n# %%\nprint(made)\n{CELL}", "made is used before"),
    ("known_names", CELL, f"\n# %%\nprint(error)\n{CELL}", "error is used before"),
    ("known_names", "notebook.urdu(words[0])", "notebook.urdu(task)", "task is used before"),
    ("known_names", "from alif_kit import notebook, pack", "from alif_kit import notebook", "pack is used before"),
    ("calls", "drive=False", "colour=False", "notebook.start has no parameter colour"),
    ("calls", ", OVERRIDES, drive", ", OVERRIDES, 1, 2, 3, 4, 5, drive", "positional arguments, not 9"),
    ("calls", "pack.seeds(run.config.language)", "pack.seeds()", "pack.seeds is not given language"),
    ("calls", "pack.seeds(", "pack.seedlings(", "pack.seedlings does not exist"),
    ("calls", "run.config.language", "run.config.tongue", "run.config.tongue does not exist"),
    ("calls", "run.file(", "run.files(", "run.files does not exist"),
    ("calls", 'instruction="…"', 'question="…"', "Example has no parameter question"),
    ("calls", "import notebook, pack", "import notebook, packs as pack", "alif_kit.packs does not exist"),
]


@pytest.mark.parametrize(
    ("guard", "old", "new", "said"), FAULTS, ids=lambda value: value[:24].strip() if "\n" not in value else "…"
)
def test_a_planted_fault_is_seen(lesson, guard, old, new, said):
    assert old in GOOD
    lesson.write_text(GOOD.replace(old, new), "utf-8")
    found = GUARDS[guard](lesson)
    assert any(said in sentence for sentence in found), found


TWIN_FAULTS = [
    ("in_step", lambda page: page["cells"][1].update(source=["print(2)"]), "09_example.ipynb is not in step"),
    ("in_step", lambda page: page["cells"].pop(), "09_example.ipynb is not in step"),
    ("clean", lambda page: page["cells"][0].update(id=page["cells"][1]["id"]), "stands twice"),
    ("clean", lambda page: page["cells"][0].pop("id"), "cell 1 has the id ''"),
    ("clean", lambda page: page["cells"][0].update(id="not valid!"), "cell 1 has the id 'not valid!'"),
    (
        "clean",
        lambda page: page["cells"][1].update(outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}]),
        "its outputs",
    ),
    ("clean", lambda page: page["cells"][1].update(execution_count=3), "cell 2 keeps its execution_count"),
    ("clean", lambda page: page["cells"][1]["metadata"].update(collapsed=True), "cell 2 keeps its collapsed"),
    ("clean", lambda page: page["metadata"].update(widgets={}), "the notebook keeps its widgets"),
    ("platforms", lambda page: page["metadata"].pop("accelerator"), "accelerator is {}"),
    ("platforms", lambda page: page["metadata"]["colab"].update(gpuType="L4"), "colab.gpuType is 'L4', expected 'T4'"),
    ("platforms", lambda page: page["metadata"]["kaggle"].update(accelerator="gpu"), "expected 'nvidiaTeslaT4'"),
    ("platforms", lambda page: page["metadata"]["kaggle"].update(isInternetEnabled=False), "isInternetEnabled is False"),
    ("platforms", lambda page: page["metadata"]["kaggle"].pop("isGpuEnabled"), "isGpuEnabled is None"),
    ("platforms", lambda page: page["metadata"].pop("kernelspec"), "kernelspec.name is None"),
]


@pytest.mark.parametrize(("guard", "plant", "said"), TWIN_FAULTS)
def test_a_fault_planted_in_the_twin_is_seen(lesson, guard, plant, said):
    path = lesson.with_suffix(".ipynb")
    page = json.loads(path.read_text("utf-8"))
    plant(page)
    path.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", "utf-8")
    found = GUARDS[guard](lesson)
    assert any(said in sentence for sentence in found), found


LIBRARIES = {
    "model.py": 9,
    "training/trainer.py": 2,
    "client.py": 2,
    "release/speakers.py": 2,
}  # calls that ast can judge, at least


@pytest.mark.parametrize("home", api_guards.HOMES)
@pytest.mark.parametrize("name", LIBRARIES)
def test_what_the_kit_passes_to_libraries_exists_there(name, home):
    calls = api_guards.library_calls(ROOT / "alif_kit" / name, home)
    assert calls.said == []
    assert calls.judged >= LIBRARIES[name]


def test_most_calls_of_the_lessons_are_judged():
    assert all(api_guards.lesson_calls(source).judged >= 15 for source in LESSONS)


@pytest.mark.parametrize("home", api_guards.HOMES)
@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("model.py", "max_seq_length=base", "max_length=base", "from_pretrained has no parameter max_length"),
        ("model.py", "lora_alpha=", "lora_beta=", "get_peft_model has no parameter lora_beta"),
        ("model.py", '"exclude_modules"', '"left_out"', "get_peft_model has no parameter left_out"),
        ("model.py", "is_trainable=", "trainable=", "PeftModel.from_pretrained has no parameter trainable"),
        ("model.py", "instruction_part=", "user_part=", "train_on_responses_only has no parameter user_part"),
        ("model.py", '"instruction_part"', '"user_part"', "train_on_responses_only has no parameter user_part"),
        ("training/trainer.py", '"train_sampling_strategy"', '"sampling"', "arguments_class has no parameter sampling"),
        ("training/trainer.py", '"embedding_learning_rate"', '"embed_lr"', "arguments_class has no parameter embed_lr"),
        ("training/trainer.py", "processing_class=", "tokenizer=", "trainer_class has no parameter tokenizer"),
        ("training/trainer.py", '"eval_dataset"', '"test_dataset"', "trainer_class has no parameter test_dataset"),
        ("client.py", "max_retries=", "retries=", "AsyncOpenAI has no parameter retries"),
        ("client.py", '"temperature":', '"heat":', "self._create has no parameter heat"),
        ("client.py", 'kept["extra_body"]', 'kept["body"]', "self._create has no parameter body"),
        ("release/speakers.py", "api_key=", "key=", "OpenAI has no parameter key"),
        ("release/speakers.py", '"stream_options"', '"counted"', "completions.create has no parameter counted"),
    ],
)
def test_a_keyword_that_a_library_lacks_is_seen(home, name, old, new, said):
    path = ROOT / "alif_kit" / name
    text = path.read_text("utf-8")
    assert old in text
    assert any(said in sentence for sentence in api_guards.library_calls(path, home, text.replace(old, new)).said)


def test_no_guard_imports_torch():
    code = "import sys, api_guards as a, notebook_guards as n; a.library_calls(n.ROOT / 'alif_kit/model.py', 'gpu')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
