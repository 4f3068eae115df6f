"""The commands as a user meets them; one tiny run is trained once and then looked at."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import flowkit
from flowkit import _shipped, data, training
from flowkit.app import main
from flowkit.app.recipe import parse_recipe, read_recipe
from flowkit.app.run_folder import RunFolder
from flowkit.app.trained import class_number
from flowkit.engines import engine
from flowkit.training import checkpoint

TINY = """\
[model]
name = "glow"
levels = 1
steps = 1
width = 8

[data]
source = "digits"
limit = 64

[training]
epochs = 2
batch_size = 16
learning_rate = 1e-3
ema = 0.9
adapt_batch = 64

[sampling]
count = 4
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", recipe, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def conditional(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "conditional"
    settings = ["--set", "model.num_classes=10", "--epochs", "1", "--set", "sampling.count=20"]
    assert main(["train", recipe, "--out", str(out), *settings]) == 0
    return out


def refused(capsys, *arguments, code=2):
    """The one line on standard error of a command that is refused."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == code
    output = capsys.readouterr()
    assert output.err.startswith("flowkit: ")
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    return output.err


def pixels(path):
    return np.asarray(Image.open(path))


def shrunk(path, zoom):
    """The pixels of a picture, each of which was made a square of `zoom`."""
    large = pixels(path)
    small = large[::zoom, ::zoom]
    np.testing.assert_array_equal(small.repeat(zoom, axis=0).repeat(zoom, axis=1), large)
    assert (zoom - 1) * max(small.shape) < 512 <= max(large.shape)  # no larger than it takes
    return small


@pytest.mark.two_engines
def test_a_run_holds_everything(trained):
    assert sorted(p.name for p in trained.iterdir()) == [
        "checkpoint.npz", "checkpoint.previous.npz", "flow.keras", "log.csv", "loss.png",
        "metrics.json", "recipe.toml", "samples", "samples.png",
    ]  # fmt: skip
    assert sorted(p.name for p in (trained / "samples").iterdir()) == ["epoch-001.png", "epoch-002.png"]
    assert read_recipe(str(trained / "recipe.toml")).model["coupling"] == "affine"
    log = training.read_log(trained / "log.csv")
    assert [row["epoch"] for row in log] == [1, 2]
    assert shrunk(trained / "samples.png", 29).shape == (18, 18)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["train_bits_per_dim"] == log[-1]["bits_per_dim"]
    assert metrics["backend"].startswith(engine.name)
    assert metrics["test_images"] == 64
    first, last = (pixels(trained / "samples" / f"epoch-00{epoch}.png") for epoch in (1, 2))
    final = pixels(trained / "samples.png")  # of the averaged weights, as the last grid
    assert (last == final).all()
    assert (first != final).any()


def test_evaluate_repeats_the_number_of_training(trained, capsys):
    assert main(["evaluate", str(trained)]) == 0
    metrics = json.loads((trained / "metrics.json").read_text())
    expected = f"test bits/dim {metrics['test_bits_per_dim']:.4f} +- {metrics['test_standard_error']:.4f}"
    assert capsys.readouterr().out.startswith(expected + "  (digits, 64 images, 1 draw of noise each)")
    flow = RunFolder(trained).load_flow()
    assert not flow.compiled
    bits = flow.bits_per_dim(data.load("digits", "test", limit=64).images)
    assert metrics["test_bits_per_dim"] == pytest.approx(np.mean(bits))
    assert metrics["test_standard_error"] == pytest.approx(np.std(bits, ddof=1) / 8)
    assert main(["evaluate", str(trained), "--samples", "4"]) == 0
    tighter = float(capsys.readouterr().out.split()[2])
    assert tighter < metrics["test_bits_per_dim"] - 1e-4  # printed with four digits


def test_sample_repeats_with_its_seed(trained, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        arguments = ["sample", str(trained), "-n", "6", "--temperature", "0.5", "--seed", seed]
        assert main([*arguments, "-o", str(tmp_path / f"{name}.png")]) == 0
    a, b, c = (shrunk(tmp_path / f"{name}.png", 19) for name in "abc")
    assert a.shape == (2 * 8 + 2, 3 * 8 + 2 * 2)
    assert (a == b).all()
    assert (a != c).any()
    large = tmp_path / "large.png"
    arguments = ["sample", str(trained), "-n", "6", "--temperature", "0.5", "--seed", "3"]
    assert main([*arguments, "--zoom", "3", "-o", str(large)]) == 0
    assert (pixels(large)[1::3, 1::3] == a).all()
    assert pixels(large).shape == (3 * a.shape[0], 3 * a.shape[1])


def test_interpolation_ends_at_the_two_images(trained, tmp_path):
    images = data.load("digits", "test", limit=2).images
    ends = [(image[..., 0].astype(int) * 255 // 16).astype("uint8") for image in images]
    Image.fromarray(ends[0]).save(tmp_path / "a.png")
    Image.fromarray(ends[1].repeat(2, axis=0).repeat(2, axis=1)).save(
        tmp_path / "b.png"
    )  # which is made smaller
    strip = tmp_path / "strip.png"
    arguments = [str(trained), str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(strip)]
    assert main(["interpolate", *arguments, "--steps", "5"]) == 0
    strip = shrunk(strip, 11)
    assert strip.shape == (8, 5 * 8 + 4 * 2)
    assert (strip[:, :8] == ends[0]).all()
    assert (strip[:, -8:] == ends[1]).all()
    assert (strip[:, 20:28] != ends[0]).any()


def test_manipulate_moves_each_image_along_the_difference_of_two_classes(trained, tmp_path, capsys):
    from flowkit import latent

    train, flow = data.load("digits", limit=64), RunFolder(trained).load_flow()
    names = []
    for k, image in enumerate(train.images[:3]):
        names.append(str(tmp_path / f"{k}.png"))
        Image.fromarray((image[..., 0].astype(int) * 255 // 16).astype("uint8")).save(names[-1])
    strip = tmp_path / "strip.png"
    arguments = ["--from-class", "1", "--to-class", "3", "--amounts", "-1,0,1", "--limit", "4", "-o"]
    assert main(["manipulate", str(trained), *names, *arguments, str(strip)]) == 0
    assert "(direction of 8 images of digits)" in capsys.readouterr().out
    rows = np.concatenate([np.flatnonzero(train.labels == label)[:4] for label in (1, 3)])
    direction = latent.attribute_direction(flow, train.images[rows], train.labels[rows] == 3)
    moved = latent.manipulate(flow, train.images[:3], direction, [-1, 0, 1])
    expected = training.image_grid(np.swapaxes(moved, 0, 1).reshape(9, 8, 8, 1), columns=3, levels=17)
    np.testing.assert_array_equal(shrunk(strip, 19), expected)


def test_class_conditional_runs_sample_evaluate_and_interpolate(conditional, tmp_path, capsys):
    assert shrunk(conditional / "samples.png", 6).shape == (10 * 8 + 9 * 2, 2 * 8 + 2)
    assert main(["evaluate", str(conditional)]) == 0
    Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / "a.png")
    ends = [tmp_path / "a.png", tmp_path / "a.png"]
    assert "--label: got no label, expected a class, 0..9" in refused(
        capsys, "interpolate", conditional, *ends
    )
    assert main(["interpolate", str(conditional), *map(str, ends), "--label", "3"]) == 0
    assert shrunk(conditional / "strip.png", 6).shape == (8, 9 * 8 + 8 * 2)
    assert main(["evaluate", str(conditional), "--levels"]) == 0
    fashion = data.load("fashion-mnist", limit=50)
    assert class_number(fashion, "trouser", "--to-class") == class_number(fashion, "1", "--to-class") == 1
    every, threes = tmp_path / "every.png", tmp_path / "threes.png"
    assert main(["sample", str(conditional), "-n", "13", "--zoom", "8", "-o", str(every)]) == 0
    height, width = pixels(every).shape
    assert height == 8 * (10 * 8 + 9 * 2)
    assert width > 8 * (2 * 8 + 2)  # for the titles
    assert main(["sample", str(conditional), "-n", "4", "--label", "3", "-o", str(threes)]) == 0
    assert pixels(threes).shape[0] == pixels(threes).shape[1]
    assert "--label: got '10', expected one of 0 (0), 1 (1)" in refused(
        capsys, "sample", conditional, "--label", 10
    )
    assert "the flow is class-conditional" in refused(
        capsys, "manipulate", conditional, ends[0], "--from-class", "1", "--to-class", "3"
    )


def test_a_run_becomes_a_preset_that_commands_take_and_whose_numbers_are_the_run_s(
    trained, conditional, tmp_path, capsys
):
    metrics = json.loads((trained / "metrics.json").read_text())
    preset = tmp_path / "preset"
    assert main(["preset", str(trained), str(preset), "--license", "cc0-1.0"]) == 0
    kept = json.loads((preset / "metadata.json").read_text())
    assert kept["data"] == {"name": metrics["data"], "sha256": metrics["data_sha256"]}
    assert kept["measured"].items() < metrics.items()
    assert f"{metrics['test_bits_per_dim']:.4f} +- " in (preset / "README.md").read_text()
    for name in ("README.md", "metadata.json", "recipe.toml"):
        assert str(trained.parent) not in (preset / name).read_text()
    capsys.readouterr()
    for run in (trained, preset):
        assert main(["evaluate", str(run)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert main(["sample", str(preset), "-n", "4", "-o", str(tmp_path / "grid.png")]) == 0
    assert main(["preset", str(conditional), str(tmp_path / "given")]) == 0
    assert np.load(tmp_path / "given" / "check.npz")["context"].shape == (16,)
    assert "got a folder with files, expected a new folder" in refused(capsys, "preset", trained, preset)
    assert "got no recipe.toml in it, expected the folder of a run" in refused(
        capsys, "preset", tmp_path / "none", tmp_path / "new"
    )
    (preset / "recipe.toml").write_text("")
    assert "recipe.toml: got SHA-256" in refused(capsys, "evaluate", preset)


def test_what_is_reported_is_json_if_asked_for(trained, conditional, tmp_path, capsys):
    def printed(*words):
        capsys.readouterr()
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    metrics = json.loads((trained / "metrics.json").read_text())
    scored = printed("evaluate", str(trained), "--levels")
    assert scored["bits_per_dim"] == metrics["test_bits_per_dim"]
    assert scored["images"] == 64
    assert scored["levels"]["latents"] == [64]
    assert printed("info")["backend"].startswith(engine.name)
    about = printed("info", str(trained))
    assert about["test_bits_per_dim"] == metrics["test_bits_per_dim"]
    assert about["parts"][0]["part"] == "Dequantize(levels=17)"
    both = printed("compare", str(trained), str(conditional), "-o", str(tmp_path / "beside.png"))
    assert both[str(trained)] == metrics
    few = ["--samples", "100", "--rows", "10", "-o", str(tmp_path / "given")]
    assert printed("diagnose", str(conditional), *few)["findings"]["coverage"]["draws"] == 99


def test_a_dry_run_prints_each_value_and_makes_nothing(recipe, tmp_path, capsys):
    words = ["--out", str(tmp_path / "run"), "--epochs", "7", "--set", "data.limit=none", "--dry-run"]
    words += ["--precision", "mixed_bfloat16"]
    assert main(["train", recipe, *words]) == 0
    text = capsys.readouterr().out
    resolved = parse_recipe(text)
    assert (resolved.training.epochs, resolved.training.precision) == (7, "mixed_bfloat16")
    assert "# limit = none\n" in text
    assert {line.removeprefix("# ").split(" = ")[0] for line in text.splitlines() if " = " in line} == {
        key.split(".")[1] for key in resolved.flat()
    }
    assert not (tmp_path / "run").exists()


def test_a_run_is_exported(trained, tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(flowkit.Flow, "export", lambda *given, **how: asked.append((given, how)) or 1e-7)
    assert main(["export", str(trained), "-o", str(tmp_path / "density.onnx"), "--what", "log_prob"]) == 0
    assert asked[0][0][1:] == (tmp_path / "density.onnx", "log_prob", "onnx")
    assert "ends in .onnx, .xml, .pt2, .tflite, or a folder" in refused(
        capsys, "export", trained, "-o", "a.txt"
    )


def test_play_hands_on_the_run_and_names_no_folder_of_this_machine(trained, tmp_path, monkeypatch, capsys):
    from flowkit import play

    asked = []
    monkeypatch.setattr(play, "write_page", lambda flow, folder, **how: asked.append(how) or folder)
    assert main(["play", str(trained), "--out", str(tmp_path / "page")]) == 0
    exporting, page = capsys.readouterr().out.splitlines()
    assert exporting.startswith(f"exporting {trained.name} to ONNX")
    assert page.startswith(f"page {tmp_path / 'page' / 'index.html'}")
    assert asked[0]["name"] == trained.name
    assert len(asked[0]["test"]) == 64
    assert (
        main(["play", "--out", str(tmp_path / "page")]) == 0
    )  # the best trained flow, with images that are here
    assert (asked[1]["name"], asked[1]["test"].name) == ("glow/fashion-mnist-full", "fashion-mnist")


def test_a_run_is_diagnosed(trained, tmp_path, capsys):
    out = tmp_path / "found"
    arguments = ["--samples", "100", "--rows", "40", "--outside", "fashion-mnist", "--background"]
    assert main(["diagnose", str(trained), *arguments, str(trained), "-o", str(out)]) == 0
    told = json.loads((out / "diagnostics.json").read_text())
    assert told["findings"]["normality"]["rows"] == 40
    assert told["findings"]["outliers"]["auroc"]["likelihood_ratio"] == 0.5  # it is its own background
    assert (out / "coverage.png").exists()
    said = capsys.readouterr().out
    assert "calibration (left out)" in said
    assert "40 rows are few: they tell a share to within 0.16" in said
    lone = shutil.copy(trained / "flow.keras", tmp_path / "mine.keras")
    few = ["--samples", "100", "--rows", "20", "-o", str(tmp_path / "lone")]
    assert main(["diagnose", str(lone), "--data", "digits", *few]) == 0
    assert "memorisation (left out)" in capsys.readouterr().out


def test_a_flow_of_continuous_images_is_given_no_stored_ones(tmp_path, capsys):
    flow = flowkit.Flow(flowkit.bijectors.Scale(0.0))
    flow.build((None, 8, 8, 1))
    flow.save(tmp_path / "mine.keras")
    for command in ("diagnose", "evaluate"):
        said = refused(capsys, command, tmp_path / "mine.keras", "--data", "digits")
        assert "the flow takes continuous values" in said


def test_runs_are_compared_side_by_side(trained, tmp_path, capsys):
    """A picture that is made smaller keeps its thin rows: here one pixel in 40 is dark."""
    run = shutil.copytree(trained, tmp_path / "lined")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"data_sha256": "another"}))
    lined = np.full((2000, 2000), 255, "uint8")
    lined[20::40] = 0
    Image.fromarray(lined).save(run / "samples.png")
    beside = tmp_path / "beside.png"
    assert main(["compare", str(run), str(trained), "-o", str(beside)]) == 0
    said = capsys.readouterr().out
    assert f"{metrics['test_bits_per_dim']:.4f} +-" in said
    assert "* other data than the first run" in said
    picture = pixels(beside).astype(int)[..., :3].min(axis=-1)
    height, width = picture.shape
    # The left of the two pictures, of which a line goes all the way, as no letter of its title does.
    column = picture[int(0.55 * height) :, width // 8 : 3 * width // 8].max(axis=-1)
    lines = (column[1:-1] < 250) & (column[1:-1] <= column[:-2]) & (column[1:-1] < column[2:])
    assert lines.sum() == 50


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("flowkit train glow/fash", ["glow/fashion-mnist", "glow/fashion-mnist-full"]),
        ("flowkit evaluate runs/mine --backend to", ["torch"]),
        ("flowkit train runs/", []),  # a path, which the shell completes
    ],
)
def test_a_shell_is_told_commands_and_names(capsys, monkeypatch, words, told):
    monkeypatch.setenv("_FLOWKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == told


OTHER = ["--set", "training.batch_size=8", "--set", "model.width=9"]
FROM_1 = ["--from-class", "1", "--to-class"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "glow/fashion-mnits"], "the nearest are glow/fashion-mnist"),
        (["train", "?"], "no recipe '?'; there are "),
        (["train", "RECIPE", "--out", "TRAINED"], "holds a run already: say --resume"),
        (["train", "RECIPE", "--out", "TRAINED", "--resume", *OTHER], "got model.width = 9, expected 8, as it was"),
        (["train", "RECIPE", "--epochs", "0"], "tiny.toml: training.epochs: got 0, expected a whole"),
        (["train", "RECIPE", "--out", "OUT", "--data", "digitz"], "the nearest is digits"),
        (["train", "RECIPE", "--out", "OUT", "--data", "no/such/folder"], "no/such/folder: got no file"),
        (["train", "RECIPE", "--out", "OUT", "--set", "model.levels=5"], "does not fit digits"),
        (["train", "RECIPE", "--out", "OUT", "--set", "data.crop=9"], "crop: got images of 8x8, expected at least 9x9"),
        (["train", "RECIPE", "--out", "OUT", "--set", "data.source=no/such"], "data.source: no/such: got no file"),
        (["sample", "TRAINED", "-o", "grid.jpg"], "got grid.jpg, expected a name that ends in .png"),
        (["convert", "PICTURE.keras", "-o", "a.npz"], "picture.png.keras: got no file, expected a .keras file"),
        (["interpolate", "TRAINED", "PICTURE", "PICTURE", "--label", "3"], "--label: got 3, expected no label, since"),
        (["trian"], "No such command 'trian'"),
        (["sample", "glow/cifar10"], "glow/cifar10 is a recipe: `flowkit train glow/cifar10` makes a run of it"),
        (["sample", "glow/fashion-mnits"], "expected the folder of a run; the nearest are glow/fashion-mnist, "),
        (["sample", "TRAINEDD"], "expected the folder of a run; the nearest"),
        (["evaluate", "TRAINED", "--data", "fashion-mnist"], "got 256 levels, expected the 17 that the flow was"),
        (["diagnose", "TRAINED/flow.keras"], "a flow alone does not say what data it is of: --data SOURCE gives"),
        (["info", "nfs"], "the nearest are nsf, naf, bnaf"),
        (["info", "--cite"], "--cite: got no NAME, expected one with a paper"),
        (["interpolate", "TRAINED", "RECIPE", "RECIPE"], "expected an image (PNG, JPEG, BMP or WEBP). Fetch"),
        (["manipulate", "TRAINED", "PICTURE", *FROM_1, "11"], "--to-class: got '11', expected one of 0 (0), 1 (1)"),
        (["manipulate", "TRAINED", "PICTURE", *FROM_1, "1"], "expected some with, some without"),
        (["sample", "TRAINED", "--temperature", "0.5,1"], "list of 2, expected a number, or one for each of 1 levels"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_code_2(arguments, message, recipe, trained, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / "picture.png")
    names = {
        "RECIPE": recipe,
        "TRAINED": str(trained),
        "OUT": str(tmp_path / "out"),
        "PICTURE": str(tmp_path / "picture.png"),
    }
    for name, path in names.items():
        arguments = [argument.replace(name, path) for argument in arguments]
        message = message.replace(name, path)
    assert message in refused(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_a_run_that_cannot_be_used_is_one_line(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    file = run / "flow.keras"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "flow.keras: got something else, perhaps damaged, expected a .keras file" in refused(
        capsys, "sample", run
    )
    with zipfile.ZipFile(trained / "flow.keras") as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"ActNorm", b"ActNorn"))
    line = refused(capsys, "evaluate", run)
    assert (
        "flow.keras cannot be loaded: Could not locate class 'ActNorn'; it is damaged, or written by an"
        in line
    )
    assert f"than flowkit {flowkit.__version__} and keras {keras.__version__}" in line
    assert len(line) < 400
    with zipfile.ZipFile(trained / "flow.keras") as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            foreign = old.read(name).replace(b'"flowkit.bijectors.affine"', b'"mine"')
            new.writestr(name, foreign.replace(b"ActNorm", b"ActNorn"))
    line = refused(capsys, "sample", run)
    assert (
        "holds the class 'ActNorn' of 'mine', which is neither Keras's nor flowkit's: in Python, first"
        in line
    )
    file.unlink()
    assert "holds no flow.keras: training has not come to its end" in refused(capsys, "evaluate", run)


def test_a_full_disk_is_one_line_and_leaves_nothing(trained, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    picture = tmp_path / "grid.png"
    assert "No space left on device" in refused(capsys, "sample", trained, "-o", picture)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_has_half_written_is_cleared_away(recipe, tmp_path):
    """Of a run that was killed before it had a recipe. Without samples it draws no pictures."""
    early = tmp_path / "early"
    early.mkdir()
    (early / ".recipe.toml.partial-abc.toml").touch()
    settings = ["--epochs", "1", "--set", "sampling.count=0"]
    assert main(["train", recipe, "--out", str(early), *settings]) == 0
    assert [*early.rglob(".*")] == []
    assert sorted(path.name for path in early.glob("*s*.png")) == ["loss.png"]
    assert not (early / "samples").exists()


def test_a_folder_that_another_process_trains_into_is_refused(recipe, trained, capsys):
    with RunFolder(trained).held():
        line = refused(capsys, "train", recipe, "--out", trained, "--resume")
    assert "is training into this folder" in line
    assert (trained / "flow.keras").exists()


def test_resume_of_a_finished_run_changes_no_number(recipe, trained, tmp_path):
    """Also of one that was killed while its files were written."""
    again = shutil.copytree(trained, tmp_path / "again")
    (again / ".flow.keras.partial-abc.keras").touch()
    (again / "samples" / ".epoch-002.png.partial-abc.png").touch()
    assert main(["train", recipe, "--out", str(again), "--resume"]) == 0
    before, after = (json.loads((run / "metrics.json").read_text()) for run in (trained, again))
    assert before["test_bits_per_dim"] == after["test_bits_per_dim"]
    assert (pixels(trained / "samples.png") == pixels(again / "samples.png")).all()
    assert [*again.rglob(".*")] == []


def test_more_epochs_go_on_where_the_run_ended(recipe, trained, tmp_path, capsys):
    longer = shutil.copytree(trained, tmp_path / "longer")
    assert main(["train", recipe, "--out", str(longer), "--resume", "--epochs", "3"]) == 0
    assert "going on from epoch 2" in capsys.readouterr().out
    assert main(["train", recipe, "--out", str(tmp_path / "whole"), "--epochs", "3"]) == 0
    runs = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("longer", "whole")]
    assert runs[0]["test_bits_per_dim"] == runs[1]["test_bits_per_dim"]


def test_training_that_diverges_is_code_1_and_keeps_the_last_checkpoint(
    recipe, tmp_path, capsys, monkeypatch
):
    ordinary = data.Batches.__getitem__

    def poisoned(self, index):
        (x,) = ordinary(self, index)
        return (x.astype("float32") * (np.nan if self.epoch >= 2 else 1),)

    monkeypatch.setattr(data.Batches, "__getitem__", poisoned)
    out = tmp_path / "out"
    settings = ["--epochs", "9", "--set", "training.patience=4"]
    line = refused(capsys, "train", recipe, "--out", out, *settings, code=1)
    assert "training stopped in epoch 3: the gradients of the last 4 steps were not finite" in line
    assert json.loads(str(np.load(out / "checkpoint.npz")["meta"]))["epoch"] == 2


def test_a_short_run_that_ends_in_nan_is_code_1(recipe, tmp_path, capsys):
    """Shorter than the patience of the guard."""
    settings = ["--epochs", "1", "--set", "training.learning_rate=1e30"]
    line = refused(capsys, "train", recipe, "--out", tmp_path / "out", *settings, code=1)
    assert re.search(
        r"out has diverged: its test bits/dim is (nan|inf); train anew with a smaller learning", line
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["test_bits_per_dim"] is None


def test_a_refused_resume_changes_nothing(recipe, trained, tmp_path, capsys):
    """On another engine, say, with more epochs: the run's own --resume would then be refused too."""
    run = shutil.copytree(trained, tmp_path / "run")
    arrays, meta = checkpoint.read(run / "checkpoint.npz")
    checkpoint.write(run / "checkpoint.npz", arrays, meta | {"backend": "abacus"}, keep=None)
    (run / "samples" / ".epoch-003.png.partial-abc.png").touch()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for settings in (["--epochs", "12"], ["--set", "sampling.temperature=0.1"]):
        refused(capsys, "train", recipe, "--out", run, "--resume", *settings)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_failure_that_control_c_led_to_is_code_130(trained, capsys, monkeypatch):
    def interrupted(*_, **__):
        with contextlib.suppress(KeyboardInterrupt):  # as a callback of XLA's does
            signal.raise_signal(signal.SIGINT)
        raise TypeError("'NoneType' object is not callable")

    monkeypatch.setattr(flowkit.Flow, "sample", interrupted)
    # A process of its own has Python's handler; in this one, what ran before may have left another.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["--version"]) == 0
        with contextlib.suppress(KeyboardInterrupt):  # between two commands: none of the second
            signal.raise_signal(signal.SIGINT)
        assert main(["info"]) == 0
        assert refused(capsys, "sample", trained, code=130) == "flowkit: interrupted\n"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_failure_of_the_checkpoint_that_sigterm_asked_for_is_told(recipe, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        signal.raise_signal(signal.SIGTERM)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training.Resume, "fit", full)
    assert "No space left on device" in refused(capsys, "train", recipe, "--out", tmp_path / "out")


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setenv("FLOWKIT_DEBUG", "1")
    assert main(["sample", "no/such/run"]) == 2
    assert "Traceback" in capsys.readouterr().err


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_needs_no_engine_loads_none():
    """Help, lists and mistyped names; then an engine that is not installed is one line."""
    code = """
import contextlib, io, json, sys
import flowkit._engine
from flowkit.app import main
said = []
for words in ([], ["train", "--help"], ["train", "glow/digit"], ["train", "maf"], ["list"], None):
    if words is None:
        flowkit._engine.installed = lambda name: False
        words = ["info", "--backend", "torch"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = main(words)
    said.append([code, text.getvalue()])
print(json.dumps([said, sorted({"keras", "torch", "jax", "tensorflow"} & sys.modules.keys())]))
"""
    said, loaded = json.loads(run_python(code).stdout)
    assert loaded == []
    wanted = [(2, "train"), (0, "--epochs"), (2, "nearest"), (2, "family"), (0, "glow/digits")]
    for (code, text), (expected, word) in zip(said, wanted, strict=False):
        assert code == expected
        assert word in text
    for name in (*_shipped.recipe_files(), *_shipped.preset_folders()):
        assert re.search(rf"^  {name} +[^ ]", said[4][1], re.MULTILINE)
    code, missing = said[5]
    assert code == 2
    assert missing.startswith("flowkit: KERAS_BACKEND='torch', but torch is not installed.")
    assert missing.count("\n") == 1


@pytest.mark.long
def test_backend_goes_before_the_environment():
    """In a session set to another engine, --backend decides."""
    other = next(name for name in ("jax", "torch", "tensorflow") if name != engine.name)
    code = (
        "import sys; from flowkit.app.backend import use; "
        f"use({engine.name!r}); import keras; print(keras.backend.backend())"
    )
    done = run_python(code, KERAS_BACKEND=other)
    assert done.stdout.split() == [engine.name]


def test_check_holds_a_bijector_to_its_contract(capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "halves.py").write_text(
        "from flowkit.bijectors import Elementwise\n"
        "from keras import ops\n"
        "class Wrong(Elementwise):\n"
        "    def _forward(self, x):\n"
        "        return 2 * x, ops.full_like(x, 0.7)\n"
        "    def _inverse(self, z):\n"
        "        return z / 2, ops.full_like(z, -0.7)\n"
    )
    arguments = ["--backends", engine.name, "--examples", "2", "--profile", "fast"]
    assert main(["check", "halves:Wrong", *arguments]) == 1
    table = capsys.readouterr().out
    assert "broke 'log-det'" in table
    assert "replay" in table
