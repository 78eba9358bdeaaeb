"""What alif_kit asks of unsloth, trl, transformers, peft and openai exists in the versions that are installed, on a card and without."""

import re
import subprocess
import sys

import api_guards
import pytest
from notebook_guards import ROOT

USES = re.compile(rf"^ *(?:from|import) (?:{'|'.join(api_guards.LIBRARIES)})\b", re.MULTILINE)
USERS = [p for p in sorted((ROOT / "alif_kit").rglob("*.py")) if USES.search(p.read_text("utf-8"))]
# Calls that ast can judge, at least. In the files that are not here, libraries take any keyword.
JUDGED = {"model/unsloth.py": 9, "training/trainer.py": 2, "teacher/client.py": 2, "chat/speakers.py": 2, "teacher/batch.py": 6, "quantisation/engines.py": 2}


@pytest.mark.parametrize("home", api_guards.HOMES)
@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_what_the_kit_passes_to_libraries_exists_there(path, home):
    assert api_guards.library_calls(path, home).said == []


@pytest.mark.parametrize("home", api_guards.HOMES)
@pytest.mark.parametrize("name", JUDGED)
def test_calls_are_really_judged(name, home):
    assert api_guards.library_calls(ROOT / "alif_kit" / name, home).judged >= JUDGED[name]


def test_most_calls_of_the_lessons_are_judged():
    assert all(api_guards.lesson_calls(source).judged >= 15 for source in (ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("home", api_guards.HOMES)
@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("model/unsloth.py", "max_seq_length=base", "max_length=base", "from_pretrained has no parameter max_length"),
        ("model/unsloth.py", "lora_alpha=", "lora_beta=", "get_peft_model has no parameter lora_beta"),
        ("model/unsloth.py", '"exclude_modules"', '"left_out"', "get_peft_model has no parameter left_out"),
        ("model/unsloth.py", "is_trainable=", "trainable=", "PeftModel.from_pretrained has no parameter trainable"),
        ("model/unsloth.py", "instruction_part=", "user_part=", "train_on_responses_only has no parameter user_part"),
        ("model/unsloth.py", '"instruction_part"', '"user_part"', "train_on_responses_only has no parameter user_part"),
        ("training/trainer.py", '"train_sampling_strategy"', '"sampling"', "arguments_class has no parameter sampling"),
        ("training/trainer.py", '"embedding_learning_rate"', '"embed_lr"', "arguments_class has no parameter embed_lr"),
        ("training/trainer.py", "processing_class=", "tokenizer=", "trainer_class has no parameter tokenizer"),
        ("training/trainer.py", '"eval_dataset"', '"test_dataset"', "trainer_class has no parameter test_dataset"),
        ("teacher/client.py", "max_retries=", "retries=", "AsyncOpenAI has no parameter retries"),
        ("teacher/client.py", '"temperature":', '"heat":', "self._create has no parameter heat"),
        ("teacher/client.py", 'kept["extra_body"]', 'kept["body"]', "self._create has no parameter body"),
        ("teacher/batch.py", "purpose=", "reason=", "files.create has no parameter reason"),
        ("teacher/batch.py", ".list(limit=", ".list(most=", "batches.list has no parameter most"),
        ("quantisation/engines.py", '"bnb_4bit_quant_type"', '"bnb_4bit_type"', "BitsAndBytesConfig has no parameter bnb_4bit_type"),
        ("chat/speakers.py", "api_key=", "key=", "OpenAI has no parameter key"),
        ("chat/speakers.py", '"stream_options"', '"counted"', "completions.create has no parameter counted"),
    ],
)
def test_a_keyword_that_a_library_lacks_is_seen(home, name, old, new, said):
    path = ROOT / "alif_kit" / name
    text = path.read_text("utf-8")
    assert old in text
    assert any(said in sentence for sentence in api_guards.library_calls(path, home, text.replace(old, new)).said)


def test_no_guard_imports_torch():
    code = "import sys, api_guards as a, notebook_guards as n; a.library_calls(n.ROOT / 'alif_kit/model/unsloth.py', 'gpu')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests" / "notebooks", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
