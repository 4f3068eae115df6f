"""What is packed, and the files around the package that name its requirements."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ENGINES = ("jax", "torch", "tensorflow")
RECIPES = sorted(path.relative_to(ROOT / "zoo").as_posix() for path in (ROOT / "zoo").glob("*/*.toml"))


def requirements(engine, kind):
    """The lines of one requirements file that are requirements."""
    text = (ROOT / "backends" / engine / f"requirements-{kind}.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def bound(requirement):
    """The version after `>=`; an extra in brackets and a marker after `;` do not count."""
    return re.fullmatch(r"[a-z-]+(?:\[[a-z0-9-]+\])?>=([0-9.]+)", requirement.split(";")[0].strip())[1]


def test_the_extras_are_there():
    export = {"export", "export-jax", "export-tensorflow"}
    assert set(EXTRAS) == {*ENGINES, *export, "tables", "hub", "testing", "docs", "dev"}


def test_no_engine_is_a_dependency():
    names = {re.match(r"[A-Za-z0-9-]+", line)[0].lower() for line in PROJECT["dependencies"]}
    assert not names & {"jax", "jaxlib", "torch", "tensorflow", "tensorflow-cpu"}
    assert "keras" in names


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_requirements_of_an_engine_have_the_bound_of_its_extra(engine, kind):
    (wanted,) = {bound(line) for line in EXTRAS[engine]}
    assert {bound(line) for line in requirements(engine, kind)} == {wanted}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_has_a_container_file_a_launcher_and_a_readme(engine):
    folder = ROOT / "backends" / engine
    assert f"KERAS_BACKEND={engine}" in (folder / "Containerfile").read_text(encoding="utf-8")
    assert f"KERAS_BACKEND={engine} flowkit info" in (folder / "README.md").read_text(encoding="utf-8")
    launcher = folder / "launch.sh"
    assert launcher.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", launcher], check=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_launcher_without_arguments_shows_how_to_call_it(engine):
    run = subprocess.run([ROOT / "backends" / engine / "launch.sh"], capture_output=True, text=True)
    assert run.returncode == 2
    assert f"backends/{engine}/launch.sh RECIPE RUN" in run.stderr


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
    """The names in a wheel built from this tree; hatchling alone, no network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("keras_flowkit-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_carries_every_recipe_and_every_file_of_the_trained_flows(wheel):
    inside = {name.removeprefix("flowkit/zoo/recipes/") for name in wheel}
    presets = {path.relative_to(ROOT / "zoo").as_posix() for path in (ROOT / "zoo").glob("*/*/*.*")}
    assert inside > {*RECIPES, *presets} > set(RECIPES) > set()


def test_the_wheel_carries_the_images_and_both_licences(wheel):
    assert "flowkit/data/fashion_mnist.npz" in wheel
    licences = {name.partition(".dist-info/licenses/")[2] for name in wheel}
    assert {"LICENSE", "flowkit/data/LICENSE.fashion-mnist"} <= licences


def test_the_wheel_says_that_it_is_typed(wheel):
    assert {"flowkit/py.typed", "flowkit/__init__.pyi"} <= set(wheel)


def test_the_wheel_holds_the_package_and_its_pytest_plugin_alone(wheel):
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == {"flowkit", "flowkit_pytest.py"}  # the plugin: see there why it is beside the package
    assert not [name for name in wheel if "__pycache__" in name]


def test_the_installed_distribution_is_this_version():
    import flowkit

    assert metadata.version("keras-flowkit") == flowkit.__version__


def test_recipes_of_this_tree_are_found_by_name():
    from flowkit import recipes

    found = {f"{name}.toml": path for name, path in recipes.available().items()}
    assert found == {name: ROOT / "zoo" / name for name in RECIPES}


def test_make_installs_what_the_extras_name():
    named = re.findall(r"EXTRAS := (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {extra for line in named for extra in line.split(",")} <= set(EXTRAS)
