"""Guards on the lessons, each shown to see the fault that it is for. That the lessons run is for test_course.py."""

import json

import api_guards
import jupytext
import lesson_guards
import link_guards
import notebook_guards
import pytest

ROOT = notebook_guards.ROOT
LESSONS = sorted((ROOT / "notebooks").glob("*.py"))
PAGES = [path for place in (".", "docs", "data_cards") for path in sorted((ROOT / place).glob("*.md"))]
GUARDS = {
    name: getattr(module, name)
    for module, names in {
        notebook_guards: "in_step clean platforms plain narrow discreet parameters install agreed",
        lesson_guards: "opening checked closing known_names",
        link_guards: "linked badges",
    }.items()
    for name in names.split()
} | {"calls": lambda source: api_guards.lesson_calls(source).said}

JUPYTEXT = min(notebook_guards.pins(ROOT)["jupytext"])
ADDRESS = notebook_guards.front_door().read_address(ROOT)
PUBLIC = f"{ADDRESS.owner}/{ADDRESS.name}"
GOOD = (ROOT / "tests" / "data" / "example_lesson.txt").read_text("utf-8").replace("VERSION", JUPYTEXT)
GOOD = GOOD.replace("BADGES", notebook_guards.front_door().badges(ADDRESS, "09_example"))
GOOD = GOOD.replace("INSTALL\n", notebook_guards.front_door().install_cell(ADDRESS))


@pytest.fixture
def lesson(tmp_path):
    """The small lesson and its twin, without a fault, in a repository that has a next one."""
    source = tmp_path / "notebooks" / "09_example.py"
    source.parent.mkdir()
    source.write_text(GOOD, "utf-8")
    for name in (source.stem, "10_next"):
        jupytext.write(jupytext.read(source), source.with_name(f"{name}.ipynb"))
    return source


def test_there_are_six_lessons():
    assert [path.stem[:2] for path in LESSONS] == ["00", "01", "02", "03", "04", "05"]


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_keeps(source, guard):
    assert GUARDS[guard](source) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_has_the_pins_and_links_that_lead_somewhere(page):
    assert notebook_guards.agreed(page) + link_guards.linked(page) == []


@pytest.mark.parametrize("guard", GUARDS)
def test_a_good_lesson_passes(lesson, guard):
    assert GUARDS[guard](lesson) == []


CELL = "\n# %%\ntotal = 0\n"  # a place of the small lesson in which to plant
SIXTEEN = "print(1)\n" * 16
FAULTS = [
    ("in_step", "a count.", "a number.", "09_example.ipynb is not in step"),
    ("in_step", f"jupytext_version: {JUPYTEXT}", "jupytext_version: 1.16.0", "jupytext is 1.16.0"),
    ("in_step", CELL, f"\n\n\n{CELL}", "09_example.py is not in step"),
    ("plain", CELL, "\n# %%\ntotal = = 0\n", "does not parse"),
    ("plain", CELL, f"\n# %%\n# %pip install left-pad\n{CELL}", "does not parse"),
    ("plain", "# ## Check\n", "# ## Check\n\n# %% [markdown]\n# ##  Check\n", "stands twice"),
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
    ("discreet", CELL, f"\n# %%\nplace = 'D:/data'\n{CELL}", "an absolute path: D:/"),
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
    ("install", "install.into_image()", "pass", "cell 2 is not the install cell"),
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
    ("closing", "(10_next.ipynb)", "(09_example.ipynb)", "does not link to 10_next.ipynb"),
    ("linked", "(10_next.ipynb)", "(10_gone.ipynb)", "10_gone.ipynb, which is not in the repository"),
    ("linked", "(10_next.ipynb)", "(../..)", "links to ../.., which is not in the repository"),
    ("linked", "(#check)", "(#checks)", "#checks, but no heading makes that anchor"),
    ("linked", 'dir="rtl" ', 'dir="rtl" ><img src="seen.png" ', "seen.png, which is not in the repository"),
    ("linked", f"google.com/github/{PUBLIC}/blob/main/n", f"google.com/github/{PUBLIC}/blob/main/m", "names motebooks/09"),
    ("badges", "[![Open in Colab]", "[![Open]", "no [![Open in Colab]"),
    ("badges", "main/notebooks/09_example.ipynb) [source]", "main/notebooks/10_next.ipynb) [source]", "no [![Open in Kaggle]"),
    ("badges", "[source]", "[code]", "no [source]"),
    ("known_names", CELL, "\n# %%\n", "total is used before it is bound"),
    ("known_names", CELL, f"\n# %%\nprint(made)\n{CELL}", "made is used before"),
    ("known_names", CELL, f"\n# %%\nprint(error)\n{CELL}", "error is used before"),
    ("known_names", "notebook.urdu(words[0])", "notebook.urdu(task)", "task is used before"),
    ("known_names", "from alif_kit.languages import pack\n", "", "pack is used before"),
    ("calls", "drive=False", "colour=False", "notebook.start has no parameter colour"),
    ("calls", ", OVERRIDES, drive", ", OVERRIDES, 1, 2, 3, 4, 5, drive", "positional arguments, not 9"),
    ("calls", "pack.seeds(run.config.language)", "pack.seeds()", "pack.seeds is not given language"),
    ("calls", "pack.seeds(", "pack.seedlings(", "pack.seedlings does not exist"),
    ("calls", "run.config.language", "run.config.tongue", "run.config.tongue does not exist"),
    ("calls", "run.file(", "run.files(", "run.files does not exist"),
    ("calls", 'instruction="…"', 'question="…"', "Example has no parameter question"),
    ("calls", CELL, f"\n# %%\nfrom openai import OpenAI\nOpenAI(key='')\n{CELL}", "OpenAI has no parameter key"),
    ("calls", CELL, f"\n# %%\nimport trl\ntrl.SFTConfig(max_length=8, packed=1)\n{CELL}", "SFTConfig has no parameter packed"),
    ("calls", CELL, f"\n# %%\nfrom unsloth import FastModel as M\nM.get_peft_model(0, rank=1)\n{CELL}", "no parameter rank"),
    ("calls", CELL, f"\n# %%\nfrom trl import FTConfig\n{CELL}", "trl.FTConfig does not exist"),
    ("calls", "import notebook", "import notebook, packs", "alif_kit.packs does not exist"),
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
