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

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, WHEEL = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
EXTRAS = PROJECT["optional-dependencies"]
ENGINES = ("jax", "torch", "tensorflow")
RECIPES = sorted(path.relative_to(ROOT / "zoo").as_posix() for path in (ROOT / "zoo").glob("**/[!r]*.toml"))


def requirements(engine, kind):
    """The lines of one requirements file that are requirements."""
    text = (ROOT / "backends" / engine / f"requirements-{kind}.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def bound(requirement):
    """The version after `>=`; an extra in brackets and a marker after `;` do not count."""
    return re.fullmatch(r"[a-z-]+(?:\[[a-z0-9-]+\])?>=([0-9.]+)", requirement.split(";")[0].strip())[1]


def test_no_engine_is_a_dependency():
    names = {re.match(r"[A-Za-z0-9-]+", line)[0].lower() for line in PROJECT["dependencies"]}
    assert not names & {"jax", "jaxlib", "torch", "tensorflow", "tensorflow-cpu"}
    assert "keras" in names


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_requirements_of_an_engine_have_the_bound_of_its_extra(engine, kind):
    (wanted,) = {bound(line) for line in EXTRAS[engine]}
    assert {bound(line) for line in requirements(engine, kind)} == {wanted}


def locked(engine):
    """name -> versions, of which each Python and system has one, in the lock file of an engine."""
    versions = {}
    for line in (ROOT / "backends" / engine / "lock.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert "+" not in pin.version  # no wheel that is on another index alone
            versions.setdefault(canonicalize_name(requirement.name), []).append(pin.version)
    return versions


@pytest.mark.parametrize("engine", ENGINES)
def test_the_lock_admits_what_is_asked_for(engine):
    """`make lock` writes it anew."""
    asked = [*PROJECT["dependencies"], *EXTRAS[engine]]
    asked += [line for kind in ("cpu", "gpu") for line in requirements(engine, kind)]
    versions = locked(engine)
    for requirement in map(Requirement, asked):
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement} is not locked"
        assert all(requirement.specifier.contains(version) for version in found), (str(requirement), found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("kind", "needs"), [("cpu", "cpu"), ("cuda", "gpu")])
def test_a_container_file_installs_what_is_locked_from_files_that_are_there(engine, kind, needs):
    text = (ROOT / "backends" / engine / f"Containerfile.{kind}").read_text(encoding="utf-8")
    assert f"KERAS_BACKEND={engine}" in text
    assert f"requirements-{needs}.txt" in text
    installs = re.findall(r"^RUN pip install (.*)$", text, re.MULTILINE)
    assert len(installs) == 2
    assert all("--constraint lock.txt" in line for line in installs)
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    assert copied > {*WHEEL["only-include"], "pyproject.toml", "README.md"}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_has_a_readme_and_scripts_that_start_it(engine):
    folder = ROOT / "backends" / engine
    assert f"KERAS_BACKEND={engine} flowkit info" in (folder / "README.md").read_text(encoding="utf-8")
    for script in (folder / "launch.sh", folder / "slurm.sh"):
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", script], check=True)


@pytest.fixture
def called(tmp_path):
    """Run a script whose `srun` or Python, a stub, writes down its engine and its arguments; what these were."""
    stub = tmp_path / "stub"
    stub.write_text(f'#!/bin/sh\necho "$KERAS_BACKEND" "$@" >> {tmp_path}/called\n')
    stub.chmod(0o755)
    (tmp_path / "srun").symlink_to(stub)

    def call(engine, script, **environment):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        own = {**os.environ, "PATH": path, "PYTHON": str(stub), **environment}
        arguments = [ROOT / "backends" / engine / script, "glow/digits", tmp_path / "run", "--epochs", "2"]
        subprocess.run(arguments, env=own, check=True)
        return (tmp_path / "called").read_text().replace(str(tmp_path), "AT").splitlines()

    return call


@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_starts_each_process_on_the_same_command(engine, called):
    (line,) = called(engine, "slurm.sh", SLURM_CPUS_PER_TASK="3")
    assert line.startswith(f"{engine} --cpus-per-task=3 ")
    assert line.endswith(" AT/stub -m flowkit train glow/digits --out AT/run --resume --epochs 2")


def test_one_model_on_several_gpus_is_for_torchrun(called):
    (line,) = called("torch", "launch.sh", PROCESSES="4", MAX_RESTARTS="3")
    group = "--standalone --nproc-per-node 4 --max-restarts 3"
    train = "-m flowkit train glow/digits --out AT/run --resume --epochs 2"
    assert line == f"torch -m torch.distributed.run {group} {train}"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_launcher_refuses_to_be_one_of_several_processes(engine, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = [ROOT / "backends" / engine / "launch.sh", "glow/digits", "run"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "not supported" in run.stderr


def test_requirements_are_ranges_from_the_users_own_index():
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    lines += [line for engine in ENGINES for kind in ("cpu", "gpu") for line in requirements(engine, kind)]
    assert [line for line in lines if re.search(r"==|\+cpu|index-url|://", line.split(";")[0])] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Name -> packed bytes of what is in a wheel built from this tree; hatchling alone, no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("keras_flowkit-*.whl")
    with zipfile.ZipFile(path) as archive:
        return {member.filename: member.compress_size for member in archive.infolist()}


def test_the_wheel_carries_every_recipe_and_all_of_the_trained_flows_but_large_weights(wheel):
    inside = {name.removeprefix("flowkit/zoo/recipes/") for name in wheel}
    presets = {
        path.relative_to(ROOT / "zoo").as_posix()
        for metadata in (ROOT / "zoo").glob("*/*/metadata.json")
        for path in metadata.parent.iterdir()
    }
    left_out = {name.removeprefix("zoo/") for name in WHEEL["exclude"] if name.endswith(".h5")}
    assert inside > {*RECIPES, *presets} - left_out > set(RECIPES) > set()
    assert left_out < presets
    assert inside & left_out == set()
    assert not any(name.startswith("glow/fashion-mnist/") for name in left_out)  # README's two commands


def test_the_wheel_carries_the_images_and_both_licences(wheel):
    assert {"flowkit/data/fashion_mnist.npz", "flowkit/py.typed", "flowkit/__init__.pyi"} <= set(wheel)
    assert sum(wheel.values()) < 5e6
    licences = {name.partition(".dist-info/licenses/")[2] for name in wheel}
    assert {"LICENSE", "flowkit/data/LICENSE.fashion-mnist"} <= licences


def test_the_wheel_holds_the_package_and_its_pytest_plugin_alone(wheel):
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == {"flowkit", "flowkit_pytest.py"}  # the plugin: see there why it is beside the package
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
    known = known - {"keras-flowkit"} | {"tensorflow", "mlflow"}
    advised = {name for row in FORMATS.values() for names in row.packages.values() for name in names}
    places = [*(ROOT / "flowkit").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    for text in (path.read_text("utf-8") for path in places):
        for advice in re.findall(r"pip install ([^`\n\"]+)", text):
            advised |= set(packages(advice))
        for extras in re.findall(r"pip install [^`\n]*'\.\[([\w,-]+)\]'", text):
            assert set(extras.split(",")) <= set(EXTRAS)
    assert len(advised) > 12
    assert {name for name in advised if canonicalize_name(name) not in known} == set()


def test_make_installs_what_the_extras_name():
    named = re.findall(r"EXTRAS := (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {extra for line in named for extra in line.split(",")} <= set(EXTRAS)
