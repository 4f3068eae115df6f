"""`flowkit train images` and `flowkit train table`: what they choose by the data of their user."""

import json

import numpy as np
import pytest
from PIL import Image

from flowkit.app import main
from flowkit.app.images import Images, likeliest_classes
from flowkit.app.recipe import read_recipe
from flowkit.app.tables import Tables


def pictures(folder, sizes, *, classes=(".",), mode="RGB"):
    """Write pictures of some sizes, (width, height), in turn into a folder for each class."""
    rng = np.random.default_rng(0)
    for k, (width, height) in enumerate(sizes):
        place = folder / classes[k % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (height, width, 3), dtype="uint8")
        Image.fromarray(noise).convert("L").convert(mode).save(place / f"{k}.png")
        if mode == "RGB" and k == 3:
            Image.fromarray(noise).save(place / f"{k}.png")
    return folder


def test_large_pictures_of_several_sizes_become_squares(tmp_path):
    folder = pictures(tmp_path / "a", [(90, 70), (64, 100)] * 20, classes=("cat", "dog"))
    assert Images().inferred(str(folder)) == {
        "data.size": [32, 32],
        "model.levels": 3,
        "data.channels": 3,
        "model.n_bits": 5,
        "model.num_classes": 2,
    }


def test_small_pictures_keep_their_size_and_grey_ones_are_grey_however_they_are_stored(tmp_path):
    folder = pictures(tmp_path / "a", [(30, 21)] * 3 + [(30, 21)] * 30, mode="L")
    for path in folder.iterdir():
        Image.open(path).convert("RGB").save(path)
    chosen = Images().inferred(str(folder))
    assert (chosen["data.size"], chosen["model.levels"], chosen["data.channels"]) == ([20, 28], 2, 1)
    assert "model.num_classes" not in chosen


def test_arrays_and_named_data_are_taken_as_they_are():
    assert Images().inferred("digits") == {"data.size": [8, 8], "model.levels": 2, "model.num_classes": 10}


def test_batches_of_a_small_table_are_small(tmp_path):
    np.save(tmp_path / "small.npy", np.random.default_rng(0).normal(size=(100, 2)))
    assert Tables().inferred(str(tmp_path / "small.npy")) == {
        "training.batch_size": 11,
        "model.layers": 4,
        "model.hidden": [64, 64],
    }


@pytest.mark.parametrize("recipe", ["images", "table"])
def test_without_data_the_command_says_what_to_give(recipe, capsys):
    assert main(["train", recipe]) == 2
    assert f"flowkit: train {recipe}: got no --data, expected a " in capsys.readouterr().err


def test_a_folder_of_pictures_is_trained_on(tmp_path, capsys):
    folder = pictures(tmp_path / "mine", [(8, 8)] * 40, classes=("cat", "dog"))
    options = ["epochs=1", "epoch_steps=2", "batch_size=8", "warmup_steps=0", "schedule=constant"]
    settings = [word for option in options for word in ("--set", f"training.{option}")]
    words = [*settings, "--set", "model.steps=1", "--set", "sampling.count=4", "--out", str(tmp_path / "run")]
    assert main(["train", "images", "--data", str(folder), *words]) == 0
    said = capsys.readouterr().out
    assert "chosen by the data: data.size = [8, 8], model.levels = 2" in said
    recipe = read_recipe(str(tmp_path / "run" / "recipe.toml"))
    assert (recipe.model["num_classes"], recipe.data.size) == (2, (8, 8))
    assert recipe.model["class_conditioning"] == "all_levels"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert sum(metrics[f"{split}_images"] for split in ("train", "validation", "test")) == 40
    share, count = metrics["test_class_accuracy"], metrics["test_images"]
    assert f"test class by likelihood right for {share:.1%} of {count} images, by chance for 50.0%" in said


def test_the_likeliest_class_of_an_image_is_that_of_the_largest_density():
    class Shades:
        """Density exp(-|x - 100 label|)."""

        num_classes = 3

        def log_prob(self, images, labels):
            return -np.abs(images[:, 0] - 100.0 * labels)

    assert likeliest_classes(Shades(), np.array([[210], [0], [90], [160]])).tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("side", [30, 33])
def test_a_size_that_the_levels_cannot_halve_is_told_with_sizes_that_fit(tmp_path, capsys, side):
    folder = pictures(tmp_path / "mine", [(40, 40)] * 20)
    words = ["--set", f"data.size={side}", "--set", "model.levels=3", "--out", str(tmp_path / "run")]
    assert main(["train", "images", "--data", str(folder), *words]) == 2
    said = capsys.readouterr().err
    assert "32x32" in said
    assert "(multiples of 8). data.size sets the size, model.levels" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["mine.csv", "there.csv", "pictures", "runs/mine"])
def test_a_path_is_answered_with_the_command_for_own_data_and_not_with_names_of_recipes(
    tmp_path, monkeypatch, capsys, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "there.csv").write_text("a,b\n1,2\n")
    assert main(["train", name]) == 2
    said = capsys.readouterr().err
    assert "`flowkit train images --data FOLDER`, for a table `flowkit train table --data FILE`" in said
    assert "nearest" not in said
    assert main(["info", "runs/nothing"]) == 2
    assert "nearest" not in capsys.readouterr().err
