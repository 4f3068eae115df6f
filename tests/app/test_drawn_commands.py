"""Command lines and recipes that Hypothesis draws: exit code 0, or one line and nothing half written."""

import contextlib
import io
import os
import shutil
import traceback
import warnings
from pathlib import Path
from unittest import mock

import hypothesis
import numpy as np
import polars as pl
import pytest
from hypothesis import strategies as st
from PIL import Image
from typer.main import get_command

import flowkit
from flowkit.app import failure, main
from flowkit.app.commands import command_line
from flowkit.app.recipe import dumps, read_recipe

SETTINGS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
TRAINING = {"epochs": 1, "batch_size": 16, "adapt_batch": 32}
IMAGES = {
    "model": {"name": "glow", "levels": 1, "steps": 1, "width": 8},
    "data": {"source": "digits", "limit": 40},
    "training": TRAINING,
    "sampling": {"count": 4},
}
TABLE = {
    "model": {"name": "nsf", "layers": 1, "hidden": [8], "bins": 4},
    "data": {"source": "table.csv", "types": {}, "drop": ["id"]},
    "training": TRAINING,
    "sampling": {"count": 20},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of runs and data: of each kind some that are right, and some that are not."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "id": [f"row {i}" for i in range(60)],
            "kind": rng.choice(["a", "b"], 60),
            "size": rng.poisson(5, 60),
            "wide": rng.normal(size=60),
            "gap": [None if i % 7 == 0 else float(i % 4) for i in range(60)],
        }
    )
    rows.write_csv(folder / "table.csv")
    rows.head(3).write_csv(folder / "few.csv")
    rows.with_columns(kind=pl.lit("new"), size=pl.lit(-9)).write_csv(folder / "new.csv")
    rows.drop("size").write_parquet(folder / "less.parquet")
    written = rows.select("id", "kind", size="$" + pl.col("size").cast(str), wide="wide", gap="gap")
    written[0, "wide"] = None
    written.with_columns(pl.col("wide").cast(str).fill_null("odd")).write_csv(
        folder / "written.csv", separator=";"
    )
    np.save(folder / "numbers.npy", rng.normal(size=(60, 3)))
    (folder / "empty.csv").touch()
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.keras")
    for i in range(20):
        (folder / "pictures" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (8, 8), dtype="uint8"))
        picture.save(folder / "pictures" / "ab"[i % 2] / f"{i}.png")
    picture.save(folder / "picture.png")
    for name, recipe in (("images", IMAGES), ("table", TABLE)):
        (folder / f"{name}.toml").write_text(dumps(recipe))
    with contextlib.chdir(folder):
        assert main(["train", "images.toml", "--out", "images"]) == 0
        assert main(["train", "table.toml", "--out", "table"]) == 0
        given = ["--given", "kind,wide"]
        assert main(["train", "table.toml", "--out", "given", *given]) == 0
        assert main(["preset", "images", "preset"]) == 0
    shutil.copytree(folder / "images", folder / "damaged")
    for name in ("flow.keras", "metrics.json", "log.csv"):
        (folder / "damaged" / name).write_bytes((folder / "images" / name).read_bytes()[:-100])
    return folder


def contents(folder):
    """{path: what tells its state} of all in a folder."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        found[str(path.relative_to(folder))] = (
            state.st_size * path.is_file(),
            state.st_mtime_ns * path.is_file(),
        )
    return found


def judged(files, words, recipe=None):
    """Run a command in a copy of the files, and hold it to what all commands promise."""
    place = files.with_name("place")
    shutil.copytree(files, place, copy_function=_copied)
    if recipe is not None:
        (place / "drawn.toml").write_bytes(recipe)
    before, said = contents(place), io.StringIO()
    try:
        with (
            contextlib.ExitStack() as patched,
            contextlib.chdir(place),
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            report = patched.enter_context(mock.patch("flowkit.app.entry.report", wraps=failure.report))
            code = main(words)
        lines, after = said.getvalue().splitlines(), contents(place)
        assert code in (0, 1, 2)
        assert all(line.startswith("flowkit: ") for line in lines), lines
        assert "FLOWKIT_DEBUG" not in said.getvalue(), lines  # an error that nobody has thought of
        assert not [name for name in after.keys() - before.keys() if "/." in f"/{name}"]
        for call in report.call_args_list:  # an error of flowkit's own, or of the system with a path
            raised = traceback.extract_tb(call.args[0].__traceback__)[-1].filename
            system = getattr(call.args[0], "strerror", None) and call.args[0].filename
            assert system or Path(raised).is_relative_to(Path(flowkit.__file__).parent), lines
        if code:
            assert lines
            assert len(lines[-1]) < 1000, lines
        if code == 2:
            assert after == before
        return code
    finally:
        shutil.rmtree(place)


def _copied(source, target):
    """Copy a file with its times; a pipe is made again."""
    return shutil.copy2(source, target) if os.path.isfile(source) else os.mkfifo(target)


TABLES = ["table.csv", "few.csv", "new.csv", "less.parquet"]
NO_TABLES = [
    "numbers.npy", "empty.csv", "pipe.csv", "none.csv", "pictures", "picture.png", "digits", ".", "", "x.npz:a",
]  # fmt: skip
RUNS = ["table", "given", "images", "preset", "images/flow.keras", "table/flow.keras"]
NO_RUNS = [
    "damaged", "pipe.keras", "pictures", "picture.png", "glow/digit", "nsf", ".", "", "table.csv", "hf://",
]  # fmt: skip
# Of each option values that may be right, and some that never are.
POOLS = {
    "run": (RUNS, NO_RUNS),
    "background": (RUNS, NO_RUNS),
    **dict.fromkeys(["data", "data_"], ([*TABLES, "written.csv", "digits", "pictures"], NO_TABLES)),
    "given": (TABLES, NO_TABLES),
    "outside": ([*TABLES, "pictures"], NO_TABLES),
    "output": (
        ["out.csv", "out.tsv", "out.parquet", "out.npz", "out.png", "out", "out.onnx"],
        ["none/out.csv", "few.csv", "picture.png/a.png", "images", ""],
    ),
    "count": (["1", "3"], ["0", "x"]),
    "samples": (["1", "100"], ["0", "x"]),
    "sweeps": (["1"], ["0", "x"]),
    "rows": (["2"], ["1", "x"]),
    "folder": (["out"], ["images", "picture.png", ""]),
    "seed": (["0", "3", "99999999999999999999999"], ["-1", "1.5", "x", ""]),
    "temperature": (["0", "0.5"], ["1,2", "-1", "x", "nan", "inf", ""]),
    "zoom": (["1", "3"], ["0", "65", "x"]),
    "label": (["3"], ["x", "", "-1", "99"]),
    "license_": (["mit"], [""]),
    "description": (["One."], [""]),
    "what": (["encode", "log_prob"], ["x", ""]),
    "backend": (["torch"], ["theano", ""]),
}
COMMANDS = {
    name: get_command(command_line(name)).commands[name].params
    for name in ("score", "impute", "sample", "evaluate", "diagnose", "export", "preset")
}


@st.composite
def command_lines(draw):
    """The words of a command: its arguments and some of its options, of which at most one is never right."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    needed = ("data", "folder") if name in ("score", "impute", "preset") else ()
    some = [
        param
        for param in COMMANDS[name]
        if param.required
        or draw(st.integers(0, 4)) == 0
        or (param.name in needed and draw(st.integers(0, 4)))
    ]
    wrong, words = draw(st.integers(0, 2 * len(some))), [name]
    for place, param in enumerate(some):
        if param.param_type_name == "option":
            words.append(param.opts[-1])
        if not getattr(param, "is_flag", False):
            words.append(draw(st.sampled_from(POOLS[param.name][place == wrong])))
    return words


@hypothesis.settings(**SETTINGS, max_examples=60)
@hypothesis.given(command_lines())
@hypothesis.example(["evaluate", "damaged"])  # whose metrics.json breaks off
def test_a_drawn_command_ends_well_or_in_one_line(files, words):
    judged(files, words)


VALUES = [
    0, 1, 2, -1, 0.5, 1.5, 1e300, float("nan"), float("inf"), True, "", "x", "auto", [], [1], [[0, 1]], ["x"],
    ["kind"], ["size", "gap"], {}, {"kind": "category"}, {"size": [0, 1]}, {"x": "real"}, {"gap": "odd"},
    "none.csv", "few.csv", "numbers.npy", "pictures", "digits", "cosine", "glow", "maf", "flow_matching", "\x1b[2J",
]  # fmt: skip
OPTIONS = [
    "--dry-run", "--epochs 0", "--precision x", "--drop x,size", "--columns size,gap", "--given kind", "--resume",
    "--force", "--quiet", "--seed 3", "--seed x", "-o out", "--types size=real,gap=[0,9]", "--types size",
    "--set training.epoch_steps=1", "--set x", "--set model.x={", "--workers 2", "--log x", "--data pictures",
    "--data few.csv", "--out pictures", "--out table.csv/run", "--out images", "--out images --resume",
    "--out images --force", "few.csv",
]  # fmt: skip


@st.composite
def recipes(draw):
    """The tables of a recipe, some of whose values are others."""
    chosen, like = draw(st.sampled_from([(IMAGES, "glow/digits"), (TABLE, "table")]))
    recipe = {name: dict(table) for name, table in chosen.items()}
    known = {*read_recipe(like).flat(), "model.nmae", "x.y"}
    for key in draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2)):
        table, _, name = key.partition(".")
        recipe.setdefault(table, {})[name] = draw(st.sampled_from(VALUES))
    return recipe


@hypothesis.settings(**SETTINGS, max_examples=60)
@hypothesis.given(
    recipes(),
    st.lists(st.sampled_from(OPTIONS), max_size=2),
    st.sampled_from([bytes] * 8 + [lambda raw: raw[:40], lambda raw: b"\xff" + raw, lambda raw: raw + b"x"]),
)
@hypothesis.example(TABLE, [], lambda raw: b"\xff" + raw)  # no text
def test_a_drawn_recipe_trains_or_is_refused_in_one_line(files, recipe, options, damage):
    raw = damage(dumps(recipe).replace("NaN", "nan").replace("Infinity", "inf").encode())
    judged(files, ["train", "drawn.toml", "--out", "out", *" ".join(options).split()], raw)
