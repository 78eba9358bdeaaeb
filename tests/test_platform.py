"""platform: Kaggle before Colab, advice with a click path, secrets by name only."""

import sys
import types

import pytest

from alif_kit import platform
from alif_kit.errors import UserError
from alif_kit.platform import Facts, Gpu

T4 = Gpu("Tesla T4", 14.563, (7, 5))
P100 = Gpu("Tesla P100-PCIE-16GB", 15.9, (6, 0))


@pytest.fixture
def colab(monkeypatch):
    """A fake of google.colab's userdata store."""
    store = types.SimpleNamespace(values={}, error=None)

    def get(name):
        if store.error:
            raise store.error
        return store.values[name]

    colab = types.ModuleType("google.colab")
    colab.userdata = types.SimpleNamespace(get=get)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    colab.__spec__ = types.SimpleNamespace(name="google.colab")
    return store


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A fake of Kaggle's environment and secret store."""
    values = {}

    class UserSecretsClient:
        def get_secret(self, name):
            return values[name]

    module = types.ModuleType("kaggle_secrets")
    module.UserSecretsClient = UserSecretsClient
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(platform, "KAGGLE_WORKING", tmp_path)
    monkeypatch.setattr(platform, "has_internet", lambda: True)
    return values


@pytest.fixture
def gpus(monkeypatch):
    found = []
    monkeypatch.setattr(platform, "query_gpus", lambda: found)
    return found


def test_a_plain_machine_is_local(gpus):
    facts = platform.detect()
    assert (facts.platform, facts.gpu) == ("local", None) and "no CUDA card" in facts.reason


def test_colab_is_known_by_its_module(colab, gpus):
    facts = platform.detect()
    assert facts.platform == "colab"
    assert "Change runtime type" in facts.advice[0]


def test_kaggle_is_tested_before_colab(colab, kaggle, gpus, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    gpus.append(T4)
    assert platform.detect().platform == "kaggle"
    assert platform.durable_folder() == platform.KAGGLE_WORKING / "runs"


def test_a_p100_is_told_what_to_switch(kaggle, gpus):
    gpus.append(P100)
    assert "GPU T4 x2" in platform.detect().advice[0]
    assert platform.pick_preset(Facts("kaggle", P100, ""))[0] == "smoke"


def test_no_internet_on_kaggle_is_told_what_to_switch(kaggle, gpus, monkeypatch):
    gpus.append(T4)
    monkeypatch.setattr(platform, "has_internet", lambda: False)
    assert any("Settings, Internet" in sentence for sentence in platform.detect().advice)


def test_what_the_driver_says_is_read():
    gpu = platform._gpu("Tesla T4, 15360, 7.5")
    assert (gpu.name, gpu.vram_gib, gpu.capability, gpu.fp16, gpu.bf16) == ("Tesla T4", 15.0, (7, 5), True, False)
    assert Gpu("A100", 80, (8, 0)).bf16


def test_presets_by_gpu():
    assert platform.pick_preset(Facts("local", None, ""))[0] == "smoke"
    assert platform.pick_preset(Facts("colab", T4, ""))[0] == "t4"


def test_the_environment_comes_first(colab, monkeypatch):
    colab.values["MY_KEY"] = "from the store"
    assert platform.secret("MY_KEY") == "from the store"
    monkeypatch.setenv("MY_KEY", "from the environment")
    assert platform.secret("MY_KEY") == "from the environment"


def test_a_missing_secret_gives_the_click_path(colab, monkeypatch):
    with pytest.raises(UserError, match="key icon in the left bar, Add new secret, name it MY_KEY"):
        platform.secret("MY_KEY")
    colab.error = TimeoutError("userdata timed out")
    with pytest.raises(UserError, match="MY_KEY"):
        platform.secret("MY_KEY")


def test_a_secret_not_attached_on_kaggle_gives_the_click_path(kaggle):
    kaggle["HERE"] = "value"
    assert platform.secret("HERE") == "value"
    with pytest.raises(UserError, match="Add-ons, Secrets"):
        platform.secret("MY_KEY")


def test_drive_is_durable_when_mounted(colab, gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "DRIVE", tmp_path / "none")
    assert str(platform.durable_folder()) == "runs"
    monkeypatch.setattr(platform, "DRIVE", tmp_path)
    assert platform.durable_folder() == tmp_path / "alif_kit" / "runs"
