"""The trained flows that come with flowkit reach what the model card says, on every engine."""

import shutil

import numpy as np
import pytest

from flowkit import data, recipes, zoo
from flowkit.cli import main
from flowkit.zoo import trained

# Test bits/dim over the first 100 images of the embedded test split, as each came from its training.
REACHED = {"glow/digits": 2.3007132, "glow/fashion-mnist": 3.5655582}


@pytest.mark.parametrize("name", zoo.pretrained())
def test_a_trained_flow_scores_what_it_reached(name):
    flow = zoo.load(name)
    images = recipes.load_data(recipes.read_recipe(name), "test").images[:100]
    bits = np.asarray(flow.bits_per_dim(images))
    assert bits.shape == (100,)
    np.testing.assert_allclose(bits.mean(), REACHED[name], rtol=1e-5)


@pytest.mark.parametrize("name", zoo.pretrained())
def test_a_trained_flow_is_what_its_recipe_builds(name):
    recipe = recipes.read_recipe(name)
    built = recipes.build_flow(recipe, recipes.load_data(recipe, "train"))
    loaded = zoo.load(name)
    assert loaded.bijector.get_config().keys() == built.bijector.get_config().keys()
    assert [tuple(w.shape) for w in loaded.weights] == [tuple(w.shape) for w in built.weights]


def test_images_come_back_from_their_latents_exactly():
    flow, images = zoo.load("glow/fashion-mnist"), data.load("fashion-mnist", split="test", limit=32).images
    np.testing.assert_array_equal(np.asarray(flow.decode(flow.encode(images))), images)


def test_samples_at_temperature_1_are_finite(recwarn):
    images = np.asarray(zoo.load("glow/fashion-mnist").sample(512, temperature=1.0, seed=0))
    assert images.shape == (512, 28, 28, 1)
    assert not [w for w in recwarn if "overflowed" in str(w.message)]
    assert images.std() > 50  # clothes on black, not a constant


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match="no trained flow 'glow/fashion'; the nearest are glow/fashion-mnist"
    ):
        zoo.load("glow/fashion")


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "glow"
    folder.mkdir()
    for file in ("digits.keras", "SHA256SUMS"):
        shutil.copy(trained.files("keras")["glow/digits"].with_name(file), folder)
    damaged = folder / "digits.keras"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(trained, "files", lambda kind: {"glow/digits": damaged})
    with pytest.raises(ValueError, match=r"expected SHA-256 [0-9a-f]{64}, received [0-9a-f]{64}"):
        zoo.load("glow/digits")


def test_the_commands_take_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "glow/digits", "-n", "4"]) == 0
    assert (tmp_path / "grid.png").exists()
    assert main(["evaluate", "glow/digits"]) == 0
    assert "test bits/dim 2.36" in capsys.readouterr().out
    assert main(["sample", "glow/digit"]) == 2
