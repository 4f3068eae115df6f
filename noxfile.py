"""Test the wheel and the sdist, each in a clean environment, on each Python with each backend alone.

nox -s package                                  run all combinations; each downloads its backend
nox -s "package-3.12(jax, wheel)"               run one of them; nox --list names them
"""

import time
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"  # `requires`
nox.options.sessions = ["package"]
nox.options.default_venv_backend = "venv"
nox.options.stop_on_first_error = True

PYTHONS = ("3.11", "3.12", "3.13")
ENGINES = ("jax", "torch", "tensorflow")
DIST = Path(__file__).parent / "build" / "packages"
ENDINGS = {"wheel": "*.whl", "sdist": "*.tar.gz"}


@nox.session
def build(session):
    """Build both files in a separate environment, so that the tested ones lack the build tools."""
    session.install("hatchling>=1.25")
    session.run("python", "-m", "hatchling", "build", "--clean", "--directory", str(DIST))


@nox.session(python=PYTHONS, requires=["build"])
@nox.parametrize("kind", tuple(ENDINGS), ids=tuple(ENDINGS))
@nox.parametrize("engine", ENGINES, ids=ENGINES)
def package(session, engine, kind):
    """Install one file, then run `flowkit info`, train one epoch and sample, outside of the checkout."""
    (file,) = DIST.glob(ENDINGS[kind])
    times = {}

    def timed(name, call, *arguments):
        start = time.perf_counter()
        answer = call(*arguments)
        times[name] = time.perf_counter() - start
        return answer

    timed("install", session.install, f"keras-flowkit[{engine}] @ {file.as_uri()}")
    others = [name for name in ENGINES if name != engine]
    absent = f"import importlib.util as u; print([name for name in {others} if u.find_spec(name)])"
    if session.run("python", "-c", absent, silent=True).strip() != "[]":
        session.error(f"got one of {others} installed, expected {engine} only")
    session.chdir(session.create_tmp())
    session.env.update(KERAS_BACKEND=engine, TF_CPP_MIN_LOG_LEVEL="2")
    where = session.run("python", "-c", "import flowkit; print(flowkit.__file__)", silent=True)
    if "site-packages" not in where:
        session.error(f"got flowkit from {where}, expected the installed one")
    timed("info", session.run, "flowkit", "info")
    run = Path("run")
    if run.exists():
        session.run("python", "-c", "import shutil; shutil.rmtree('run')")
    timed("train", session.run, "flowkit", "train", "glow/fashion-mnist", "--epochs", "1", "--out", str(run))
    timed("sample", session.run, "flowkit", "sample", str(run), "-n", "16", "-o", "grid.png")
    if not Path("grid.png").is_file():
        session.error("flowkit sample wrote no grid.png")
    session.log(", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items()))
