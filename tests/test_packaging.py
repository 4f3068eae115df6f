"""What is packed, and the files around the package that name its requirements."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, WHEEL = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
EXTRAS = PROJECT["optional-dependencies"]
ENGINES = ("jax", "torch", "tensorflow")
RECIPES = sorted(path.relative_to(ROOT / "zoo").as_posix() for path in (ROOT / "zoo").glob("**/[!r]*.toml"))


def lines(engine, file):
    """Return the lines of a file of an engine that are requirements."""
    text = (ROOT / "backends" / engine / file).read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_asked_for_by_ranges_that_its_lock_admits(engine):
    """`make lock` writes the lock anew; of its versions each Python and system has one."""
    extra = list(map(Requirement, EXTRAS[engine]))
    needed = [*lines(engine, "requirements-cpu.txt"), *lines(engine, "requirements-gpu.txt")]
    assert {str(one.specifier) for one in needed} == {str(one.specifier) for one in extra}
    assert all(str(one.specifier).startswith(">=") and not one.url for one in needed)
    own = list(map(Requirement, PROJECT["dependencies"]))
    assert not {one.name for one in own} & {one.name for one in extra}  # no engine is a dependency
    locked = {}
    for one in lines(engine, "lock.txt"):
        locked.setdefault(canonicalize_name(one.name), []).append(str(one.specifier).removeprefix("=="))
    for one in (*own, *extra, *needed):
        assert all(map(one.specifier.contains, locked[canonicalize_name(one.name)])), one


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("kind", "needs"), [("cpu", "cpu"), ("cuda", "gpu")])
def test_a_container_file_installs_what_is_locked_from_files_that_are_there(engine, kind, needs):
    text = (ROOT / "backends" / engine / f"Containerfile.{kind}").read_text(encoding="utf-8")
    assert f"KERAS_BACKEND={engine}" in text
    assert f"requirements-{needs}.txt" in text
    installs = re.findall(r"^RUN pip install (.*)$", text, re.MULTILINE)
    assert ["--constraint lock.txt" in line for line in installs] == [True, True]
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    assert copied > {*WHEEL["only-include"], "pyproject.toml", "README.md"}


TRAIN = "-m flowkit train glow/digits --out AT/run --resume --epochs 2"
GROUP = "-m torch.distributed.run --standalone --nproc-per-node 4 --max-restarts 3"


@pytest.mark.parametrize(
    ("engine", "script", "environment", "started"),
    [
        *((engine, "slurm.sh", {"SLURM_CPUS_PER_TASK": "3"}, f"AT/stub {TRAIN}") for engine in ENGINES),
        ("torch", "launch.sh", {"PROCESSES": "4", "MAX_RESTARTS": "3"}, f"torch {GROUP} {TRAIN}"),
    ],
)
def test_a_job_starts_each_process_on_the_same_command(engine, script, environment, started, tmp_path):
    """`srun` and Python are a stub, which writes down its engine and its arguments."""
    stub = tmp_path / "stub"
    stub.write_text(f'#!/bin/sh\necho "$KERAS_BACKEND" "$@" >> {tmp_path}/called\n')
    stub.chmod(0o755)
    (tmp_path / "srun").symlink_to(stub)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    arguments = [ROOT / "backends" / engine / script, "glow/digits", tmp_path / "run", "--epochs", "2"]
    subprocess.run(
        arguments, env={**os.environ, "PATH": path, "PYTHON": str(stub), **environment}, check=True
    )
    (line,) = (tmp_path / "called").read_text().replace(str(tmp_path), "AT").splitlines()
    assert line.startswith(engine)
    assert line.endswith(started)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_launcher_refuses_to_be_one_of_several_processes(engine, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = [ROOT / "backends" / engine / "launch.sh", "glow/digits", "run"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "not supported" in run.stderr


@pytest.mark.long
def test_the_wheel_carries_the_package_with_its_recipes_images_and_trained_flows(tmp_path):
    """Built from this tree by hatchling alone, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.glob("keras_flowkit-*.whl")
    with zipfile.ZipFile(path) as archive:
        wheel = {member.filename: member.compress_size for member in archive.infolist()}
    assert sum(wheel.values()) < 5e6
    inside = {name.removeprefix("flowkit/zoo/recipes/") for name in wheel}
    presets = {
        path.relative_to(ROOT / "zoo").as_posix()
        for metadata in (ROOT / "zoo").glob("*/*/metadata.json")
        for path in metadata.parent.iterdir()
    }
    left_out = {name.removeprefix("zoo/") for name in WHEEL["exclude"] if name.endswith(".h5")}
    assert inside > {*RECIPES, *presets} - left_out > set(RECIPES) > set()
    assert inside & left_out == set()
    assert not any(name.startswith("glow/fashion-mnist/") for name in left_out)  # README's two commands
    assert {"flowkit/data/fashion_mnist.npz", "flowkit/py.typed", "flowkit/__init__.pyi"} <= set(wheel)
    licences = {name.partition(".dist-info/licenses/")[2] for name in wheel}
    assert {"LICENSE", "flowkit/data/LICENSE.fashion-mnist"} <= licences
    # The plugin is beside the package: see there why.
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {
        "flowkit",
        "flowkit_pytest.py",
    }
    assert not [name for name in wheel if "__pycache__" in name]


def packages(advice):
    """What `pip install` is told to get, up to an option, a name that is filled in, or the end of the sentence."""
    for word in advice.replace("'", "").split():
        if word[0] in "-{":
            return
        yield Requirement(word.rstrip(".,")).name
        if word.endswith("."):
            return


def test_advice_to_install_names_what_is_to_be_had():
    """flowkit itself is on no index, so that none of its extras can be asked of one."""
    from flowkit.flow.export import FORMATS

    known = {canonicalize_name(Requirement(line).name) for extra in EXTRAS.values() for line in extra}
    known = known - {"keras-flowkit"} | {"tensorflow", "mlflow", "arviz"}
    advised = {name for row in FORMATS.values() for names in row.packages.values() for name in names}
    places = [*(ROOT / "flowkit").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    for text in (path.read_text("utf-8") for path in places):
        for advice in re.findall(r"pip install ([^`\n\"]+)", text):
            advised |= set(packages(advice))
        for extras in re.findall(r"pip install [^`\n]*'\.\[([\w,-]+)\]'", text):
            assert set(extras.split(",")) <= set(EXTRAS)
    assert len(advised) > 12
    assert {name for name in advised if canonicalize_name(name) not in known} == set()
