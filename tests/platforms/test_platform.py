"""platform: Kaggle before Colab, advice with a click path, cards refused, secrets by name only."""

import sys

import free_machines
import pytest

from alif_kit.core.errors import UserError
from alif_kit.platforms import machine
from alif_kit.platforms.machine import Facts, Gpu

T4 = Gpu("Tesla T4", 14.563, (7, 5))
P100 = Gpu("Tesla P100-PCIE-16GB", 15.9, (6, 0))
IN_COLAB = "click the key icon in the left bar, Add new secret, name it MY_KEY, and switch on Notebook access"
IN_KAGGLE = "open Add-ons, Secrets, add MY_KEY and tick its box; after a fork of the notebook, tick it again"


@pytest.fixture
def colab(monkeypatch, tmp_path):
    return free_machines.colab(monkeypatch, tmp_path / "drive" / "MyDrive")


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    return free_machines.kaggle(monkeypatch, tmp_path)


@pytest.fixture
def gpus(monkeypatch):
    found = []
    monkeypatch.setattr(machine, "query_gpus", lambda: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def no_secret(name="MY_KEY"):
    with pytest.raises(UserError) as refused:
        machine.secret(name)
    return str(refused.value)


def test_a_plain_machine_is_local(gpus):
    facts = machine.detect()
    assert (facts.platform, facts.gpu) == ("local", None) and "no CUDA card" in facts.reason


def test_colab_is_known_by_its_module(colab, gpus):
    facts = machine.detect()
    assert facts.platform == "colab"
    assert facts.advice == ("This Colab session has no GPU: Runtime, Change runtime type, T4 GPU, Save.",)


def test_kaggle_is_tested_before_colab(colab, kaggle, gpus):
    gpus.append(T4)
    facts = machine.detect()
    assert (facts.platform, facts.gpu, facts.advice) == ("kaggle", T4, ())
    assert facts.reason.startswith("KAGGLE_KERNEL_RUN_TYPE is set")
    assert machine.durable_folder() == machine.KAGGLE_WORKING / "runs"


def test_colab_variables_alone_do_not_make_a_colab(gpus, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    monkeypatch.setenv("COLAB_GPU", "1")
    assert machine.detect().platform == "local"


def test_a_kaggle_variable_without_its_folder_is_not_kaggle(kaggle, gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "KAGGLE_WORKING", tmp_path / "none")
    assert machine.detect().platform == "local"


def test_a_p100_is_told_what_to_switch(kaggle, gpus):
    gpus.append(P100)
    facts = machine.detect()
    sentence = (
        "Tesla P100-PCIE-16GB (compute capability 6.0) is too old for today's torch, which needs 7.0 "
        "and fails at the first CUDA operation: Settings, Accelerator, choose GPU T4 x2"
    )
    assert facts.advice == (sentence + ".",)
    with pytest.raises(UserError) as refused:
        machine.refuse(facts)
    assert str(refused.value) == sentence
    assert machine.pick_preset(Facts("kaggle", P100, ""))[0] == "smoke"


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("colab", "Runtime, Change runtime type, choose a T4 or newer"),
        ("local", "choose a T4 or newer, or hide it with CUDA_VISIBLE_DEVICES=-1 and work on the CPU"),
    ],
)
def test_an_old_card_elsewhere_is_refused_with_a_way_out(place, where):
    with pytest.raises(UserError, match="too old for today's torch") as refused:
        machine.refuse(Facts(place, Gpu("GTX 1080", 8, (6, 1)), ""))
    assert str(refused.value).endswith(f"at the first CUDA operation: {where}")


@pytest.mark.parametrize("gpu", [None, T4, Gpu("Tesla V100", 16, (7, 0)), Gpu("A100", 80, (8, 0))])
def test_a_card_that_works_and_none_at_all_are_not_refused(gpu):
    for place in ("kaggle", "colab", "local"):
        machine.refuse(Facts(place, gpu, ""))


def test_two_t4_are_told_of_both_ways(kaggle, gpus):
    gpus.extend([T4, T4])
    facts = machine.detect()
    machine.refuse(facts)
    assert facts.gpu == T4
    assert [line for line in facts.advice if "`--gpus 2` trains on both" in line and "CUDA_VISIBLE_DEVICES=0" in line]


def test_no_internet_on_kaggle_is_told_what_to_switch(kaggle, gpus, monkeypatch):
    gpus.append(T4)
    monkeypatch.setattr(machine, "has_internet", lambda: False)
    assert machine.detect().advice == ("Internet is off: Settings, Internet, switch it on (a phone-verified account is needed).",)


def test_what_the_driver_says_is_read():
    gpu = machine._gpu("Tesla T4, 15360, 7.5")
    assert (gpu.name, gpu.vram_gib, gpu.capability, gpu.fp16, gpu.bf16) == ("Tesla T4", 15.0, (7, 5), True, False)
    assert Gpu("A100", 80, (8, 0)).bf16


def test_presets_by_gpu():
    assert machine.pick_preset(Facts("local", None, ""))[0] == "smoke"
    assert machine.pick_preset(Facts("colab", T4, ""))[0] == "t4"


def test_the_environment_comes_first(colab, monkeypatch):
    colab.values["MY_KEY"] = "from the store\n"
    assert machine.secret("MY_KEY") == "from the store"
    colab.error = AssertionError("the store is not asked")
    monkeypatch.setenv("MY_KEY", "from the environment")
    assert machine.secret("MY_KEY") == "from the environment"


def test_a_secret_missing_on_one_s_own_machine():
    assert no_secret() == "the secret MY_KEY was not found; set it for this shell: export MY_KEY=…"
    assert machine.find_secret("MY_KEY") == ""


def test_a_secret_missing_in_colab(colab):
    assert no_secret() == f"Colab holds no secret MY_KEY; {IN_COLAB}"
    assert machine.find_secret("MY_KEY") == ""


def test_an_empty_secret_is_none(colab):
    colab.values["MY_KEY"] = "  "
    assert no_secret() == f"the secret MY_KEY was not found; {IN_COLAB}"


def test_a_secret_that_the_notebook_may_not_read(colab):
    colab.error = free_machines.NotebookAccessError("Notebook does not have access to secret MY_KEY")
    assert no_secret() == (
        "Colab holds the secret MY_KEY, but this notebook may not read it; "
        "click the key icon in the left bar and switch on Notebook access beside MY_KEY"
    )


@pytest.mark.parametrize("kind", [free_machines.TimeoutException, TimeoutError])
def test_a_secret_asked_for_outside_the_browser(colab, kind):
    colab.error = kind("Requesting secret MY_KEY timed out.")
    sentence = no_secret()
    assert sentence.startswith(f"Colab did not answer when asked for the secret MY_KEY ({kind.__name__}): it answers only while")
    assert "open it there and run the cell again" in sentence and sentence.endswith(IN_COLAB)
    assert machine.find_secret("MY_KEY") == ""


def test_a_secret_asked_for_by_a_command_of_a_cell(colab):
    colab.error = AttributeError("'NoneType' object has no attribute 'shell'")
    sentence = no_secret()
    assert sentence.startswith("Colab shows its secrets to the cells of a notebook, not to a command behind `!`")
    assert sentence.endswith("os.environ['MY_KEY'] = userdata.get('MY_KEY')")


def test_a_secret_not_attached_on_kaggle(kaggle):
    kaggle.values["HERE"] = "value"
    assert machine.secret("HERE") == "value"
    assert no_secret() == f"the secret MY_KEY is not attached to this notebook (BackendError); {IN_KAGGLE}"


def test_kaggle_s_secrets_without_internet_and_without_rights(kaggle):
    kaggle.error = ConnectionError("Connection error trying to communicate with service.")
    assert no_secret() == (
        f"Kaggle did not give out the secret MY_KEY (ConnectionError): switch on Settings, Internet; then {IN_KAGGLE}"
    )
    kaggle.error = free_machines.CredentialError("A JWT Token is required")
    assert no_secret() == (
        f"Kaggle gave this session no right to read secrets (CredentialError): Run, Restart session; then {IN_KAGGLE}"
    )


def test_a_store_that_fails_in_a_new_way_is_named_and_not_quoted(kaggle):
    kaggle.error = RuntimeError("answer was sk-never-show-this")
    assert no_secret() == f"the secret MY_KEY could not be read (RuntimeError); {IN_KAGGLE}"


def test_a_store_whose_module_is_missing(kaggle, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle_secrets", None)
    assert no_secret() == f"the secret MY_KEY could not be read (ModuleNotFoundError); {IN_KAGGLE}"


def test_no_traceback_carries_what_the_store_said(kaggle):
    kaggle.error = free_machines.BackendError("Response: sk-never-show-this")
    with pytest.raises(UserError) as refused:
        machine.secret("MY_KEY")
    assert refused.value.__cause__ is None and refused.value.__context__ is None


def test_drive_is_durable_when_mounted(colab, gpus, monkeypatch, tmp_path):
    assert str(machine.durable_folder()) == "runs"
    monkeypatch.setattr(machine, "DRIVE", tmp_path)
    assert machine.durable_folder() == tmp_path / "alif_kit" / "runs"


def test_a_mount_whose_process_has_died_is_no_drive(colab, monkeypatch):
    class Dead:
        def is_dir(self):
            raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(machine, "DRIVE", Dead())
    assert str(machine.durable_folder()) == "runs"
