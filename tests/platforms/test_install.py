"""install: one pin table, the image's torch untouched (by pip's own resolver), one sentence when it fails, a restart only when needed."""

import json
import subprocess
import sys
import time
import tomllib
import types
import zipfile
from pathlib import Path

import pytest
from conftest import PATIENCE
from packaging.requirements import Requirement
from packaging.version import Version

from alif_kit.platforms import install

ROOT = Path(__file__).parents[2]
IMAGES = tomllib.loads((Path(__file__).parents[1] / "data" / "images.toml").read_text("utf-8"))
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


def distribution(folder, name, version, *files):
    """An installed package of which only the metadata and empty modules are there."""
    info = folder / f"{name.lower().replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).write_text("")


def test_unmet_are_the_absent_and_those_of_another_version(tmp_path, monkeypatch):
    distribution(tmp_path, "alif_probe", "1.2")
    monkeypatch.syspath_prepend(tmp_path)
    asked = ["alif-probe>=1", "alif-probe==1.2", "alif-probe>=2", "alif-probe-absent"]
    assert [str(r) for r in install.unmet(map(Requirement, asked))] == ["alif-probe>=2", "alif-probe-absent"]


def test_a_copy_that_is_shadowed_or_spelled_otherwise_does_not_hide_a_change(tmp_path, monkeypatch):
    distribution(tmp_path / "system", "alif_probe", "1.0")
    distribution(tmp_path / "local", "alif_probe", "1.1", "alif_probe_module.py")
    monkeypatch.syspath_prepend(tmp_path / "system")
    monkeypatch.syspath_prepend(tmp_path / "local")
    before = install._versions()
    assert before["alif-probe"] == "1.1"
    monkeypatch.syspath_prepend(tmp_path / "newer")
    distribution(tmp_path / "newer", "Alif-Probe", "1.2", "alif_probe_module.py")
    install.importlib.invalidate_caches()
    assert install.stale(before, install._versions()) == []
    monkeypatch.setitem(sys.modules, "alif_probe_module", types.SimpleNamespace(__file__="alif_probe_module.py"))
    assert install.stale(before, install._versions()) == ["alif-probe"]


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


@pytest.fixture
def asked(monkeypatch):
    """What the kernel of a notebook's fake shell is asked."""
    import IPython

    asked = []
    loop = types.SimpleNamespace(
        add_callback=lambda call, *given: call(*given), call_later=lambda seconds, call, *given: call(*given)
    )
    kernel = types.SimpleNamespace(do_shutdown=asked.append, io_loop=loop)
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=kernel))
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    return asked


def test_a_loaded_package_that_was_replaced_restarts_the_kernel_after_saying_so(asked, capsys):
    before = install._versions()
    name = install.metadata.distribution("pytest").name
    assert install.stale(before, before) == [] and install.stale(before, {**before, name: "0.1"}) == [name]
    with pytest.raises(SystemExit, match="restarting"):
        install._restart_if_needed(install.stale(before, {**before, name: "0.1"}))
    assert asked == [True] and "pytest had been loaded and changed" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["a saved run of Kaggle", "plain Python"])
def test_what_cannot_be_restarted_is_said_and_goes_on(monkeypatch, asked, capsys, where):
    if where == "plain Python":
        monkeypatch.setattr("IPython.get_ipython", lambda: None)
    else:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    install._restart_if_needed(["datasets"])
    assert asked == [] and "datasets had been loaded and changed: what is loaded stays as it was" in capsys.readouterr().out


def test_no_waiting_cell_runs_in_the_kernel_that_goes(monkeypatch):
    """A real kernel with all cells sent at once, as `Run all` does."""
    from jupyter_client.manager import start_new_kernel

    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    manager, client = start_new_kernel(startup_timeout=PATIENCE, kernel_name="python3")
    try:
        cells = "from alif_kit.platforms import install; install._restart_if_needed(['torchao'])", "print('ran in the old kernel')"
        first, second = [client.execute(cell) for cell in cells]
        status = {}
        while len(status) < len(cells):
            reply = client.get_shell_msg(timeout=PATIENCE)
            if reply["msg_type"] == "execute_reply":  # a kernel that is slow to start was asked what it is more than once
                status[reply["parent_header"]["msg_id"]] = reply["content"]["status"]
        assert status == {first: "error", second: "aborted"}
        deadline = time.monotonic() + PATIENCE
        while manager.is_alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not manager.is_alive()  # Colab, Kaggle and Jupyter start another by themselves
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


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
        (
            True,
            "WARNING: Retrying after connection broken by 'OSError('Tunnel connection failed: 403 Forbidden')'",
            "switch on Internet",
        ),
        (False, "connection broken by 'ReadTimeoutError(..)'\nERROR: No matching distribution found for trl", "cannot be reached"),
        (False, "connection broken by 'ReadTimeoutError(..)'\nERROR: ResolutionImpossible", "cannot be brought together"),
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
