"""install: one pin table, the image's torch untouched (by pip's own resolver), one sentence when it fails, a restart only when needed."""

import json
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from alif_kit import install

ROOT = Path(__file__).parents[1]
IMAGES = tomllib.loads((Path(__file__).parent / "data" / "images.toml").read_text("utf-8"))
CUDA_11, CUDA_10, CPU = "2.11.0+cu128", "2.10.0+cu128", "2.13.0+cpu"


def written(text):
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {str(Requirement(line)) for line in lines if line}


def test_the_pins_are_those_of_requirements_txt_and_pyproject_and_stand_once():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    listed = written((ROOT / "requirements.txt").read_text("utf-8"))
    asked = {str(Requirement(line)) for name in install.pins()["extras"] for line in extras[name]}
    with_dependencies, alone = install.wanted(CPU)
    plain = {Requirement(install._plain(r)) for r in with_dependencies}
    assert plain == {Requirement(line) for line in listed | asked}
    assert {install._plain(r) for r in alone} == set(extras["unsloth"])
    assert "xformers" not in (ROOT / "pyproject.toml").read_text("utf-8")  # it stands in pins.toml


@pytest.mark.parametrize("torch, xformers, torchao", [(CUDA_10, ["xformers==0.0.35"], True), (CUDA_11, [], True), (CPU, [], False)])
def test_a_card_adds_torchao_and_the_xformers_of_its_torch(torch, xformers, torchao):
    first, second = install.commands(torch, Path("c.txt"))
    assert ("torchao>=0.16.0" in first) == torchao and [a for a in second if a.startswith("xformers")] == xformers
    assert first[:5] == ["install", "--quiet", "--upgrade-strategy=only-if-needed", "--constraint", "c.txt"]
    assert second[:3] == ["install", "--quiet", "--no-deps"] and {"unsloth==2026.10.9", "unsloth_zoo==2026.10.9"} <= set(second)
    assert not [a for a in first if a.startswith("unsloth")]


def test_a_torch_that_does_not_say_is_for_a_card_where_a_driver_is(monkeypatch):
    monkeypatch.setattr(install.shutil, "which", lambda name: "nvidia-smi")
    assert install.is_cuda("2.11.0") and not install.is_cuda(CPU)
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    assert not install.is_cuda("2.11.0") and install.is_cuda(CUDA_11)


def test_what_is_met_is_not_installed_again(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(install, "_pip", calls.append)
    monkeypatch.setattr(install, "unmet", lambda requirements: [])
    install.into_image()
    assert calls == [] and "nothing was installed" in capsys.readouterr().out


def test_the_images_own_versions_are_the_constraints(monkeypatch, capsys):
    here = {"torch": CUDA_11, "numpy": "2.1.3", "pillow": "", "datasets": "4.0.0"}
    seen = []

    def pip(arguments):
        if "--constraint" in arguments:
            seen.append(Path(arguments[arguments.index("--constraint") + 1]).read_text())

    monkeypatch.setattr(install, "_version", lambda name: here.get(name, ""))
    monkeypatch.setattr(install, "_pip", pip)
    install.into_image()
    said = capsys.readouterr().out
    assert seen == [f"torch=={CUDA_11}\nnumpy==2.1.3\n"]
    assert f"kept torch {CUDA_11}, numpy 2.1.3" in said and "No restart is needed" in said


def test_a_loaded_package_that_was_replaced_restarts_the_kernel_after_saying_so(monkeypatch, capsys):
    import IPython

    asked = []
    kernel = types.SimpleNamespace(do_shutdown=asked.append)
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=kernel))
    before = install._versions()
    name = install.metadata.distribution("pytest").name
    assert install.stale(before, before) == [] and install.stale(before, {**before, name: "0.1"}) == [name]
    install._restart_if_needed(install.stale(before, {**before, name: "0.1"}))
    assert asked == [True] and "pytest had been loaded and changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "kaggle, said, words",
    [
        (
            True,
            "NewConnectionError: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "Internet",
        ),
        (False, "NameResolutionError", "cannot be reached"),
        (True, "ERROR: ResolutionImpossible: for help visit", "cannot be brought together"),
        (True, "OSError: [Errno 28] No space left on device", "disk is full"),
        (True, "a\nERROR: something else\n", "ERROR: something else"),
    ],
)
def test_pips_errors_become_one_sentence(monkeypatch, kaggle, said, words):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch" if kaggle else "")
    assert words in install.sentence(said) and "\n" not in install.sentence(said)


def test_pip_without_a_network_really_ends_in_that_sentence(monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    with pytest.raises(SystemExit, match="switch on Internet"):
        install._pip(
            [
                "--isolated",
                "install",
                "--no-deps",
                "--retries=1",
                "--timeout=2",
                "--index-url=http://127.0.0.1:9/",
                "alif-kit-that-is-nowhere",
            ]
        )


# ---- pip's own resolver over the images -------------------------------------------------------------------------------------------

GLIBC = range(17, 36)  # both images have glibc 2.35
PURE_SDISTS = ("sqlitedict", "word2number")
"""What lm-eval asks for and the index has as a source only; both are pure Python, so a wheel made here is the one made there."""


def stub_wheel(folder, name, version):
    """A wheel without content: it stands in for the image's own package, so that only that version can be chosen."""
    stem = f"{name}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def pip(*arguments):
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True)
    if any(mark in done.stderr for mark in install.OFFLINE):
        pytest.skip("no package index answers")
    return done


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    assert pip("wheel", "--quiet", "--no-deps", "-w", folder, *PURE_SDISTS).returncode == 0
    return folder


def resolve(folder, wheels, image, constraints, *more):
    """Versions by name that pip would leave in the image, or what it says when there are none."""
    torch, report, listed = image["installed"]["torch"], folder / "report.json", folder / "constraints.txt"
    stub_wheel(wheels, "torch", torch)
    listed.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()))
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["--platform=manylinux2014_x86_64"]
    first = install.commands(torch, listed)[0]
    done = pip(
        *first,
        *more,
        "--dry-run",
        "--ignore-installed",
        f"--report={report}",
        f"--python-version={image['python']}",
        "--implementation=cp",
        "--only-binary=:all:",
        f"--target={folder / 'nowhere'}",
        f"--find-links={wheels}",
        *platforms,
    )
    if done.returncode:
        return done.stderr
    found = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_the_pins_go_over_the_image_without_touching_torch(tmp_path, wheels, name):
    image = IMAGES[name]
    kept = {n: v for n, v in image["installed"].items() if n in install.pins()["keep"]}
    found = resolve(tmp_path, wheels, image, kept)
    assert isinstance(found, dict), found
    assert {n: found[n] for n in kept} == kept
    assert (found["transformers"], found["datasets"], found["trl"]) == ("5.17.0", "4.8.5", "1.15.0")
    assert Version(found["torchao"]) >= Version("0.16.0") and "unsloth" not in found


@pytest.mark.slow
def test_a_pin_that_asks_for_another_torch_would_be_found(tmp_path, wheels):
    image = IMAGES["kaggle"]
    said = resolve(tmp_path, wheels, image, {"torch": image["installed"]["torch"]}, "torch>=2.12")
    assert isinstance(said, str) and "ResolutionImpossible" in said and "cannot be brought together" in install.sentence(said)


@pytest.mark.slow
def test_the_images_datasets_could_not_stay(tmp_path, wheels):
    image = IMAGES["colab"]
    said = resolve(tmp_path, wheels, image, {n: image["installed"][n] for n in ("torch", "datasets")})
    assert isinstance(said, str) and "datasets==4.8.5" in said


LEFT_OUT = {
    "the image": {"torchvision", "triton", "wheel"},
    "the second command": {"unsloth-zoo", "xformers"},
    "optional: another loss, downloads, async, vision, vLLM, Unsloth's own studio": {
        *("cut-cross-entropy", "hf-transfer", "nest-asyncio", "einops", "diffusers", "msgspec", "json5", "structlog")
    },
}
"""What Unsloth asks for and the first command does not install, by where it comes from or what it would be for."""


@pytest.mark.slow
def test_unsloth_alone_finds_what_it_asks_for(tmp_path, wheels):
    """Its own list, which is not installed, against what the image and the pins give; what it leaves out is known."""
    image = IMAGES["colab"]
    found = resolve(tmp_path, wheels, image, {"torch": image["installed"]["torch"]})
    asked = [Requirement(line) for name in ("unsloth", "unsloth_zoo") for line in install.metadata.requires(name) or []]
    asked = [r for r in asked if r.marker is None or r.marker.evaluate({"extra": "", "platform_system": "Linux"})]
    wrong = [str(r) for r in asked if (v := found.get(r.name.lower().replace("_", "-"))) and not r.specifier.contains(v)]
    assert wrong == []
    missing = {r.name.lower().replace("_", "-") for r in asked} - found.keys()
    assert missing == set().union(*LEFT_OUT.values())
