"""The trained flows that come with flowkit reach what the model card says, on every engine."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from flowkit import Flow, data, presets, zoo
from flowkit.app import main
from flowkit.app.experiment import build_flow, kind_of
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe
from flowkit.app.tables import Tables
from flowkit.presets.folder import read_preset

CARDS = Path(__file__).parents[2] / "zoo"
# Test bits/dim over the first 100 images of the embedded test split, as each came from its training.
REACHED = {"glow/digits": 2.2832162, "glow/fashion-mnist": 3.5219081}


@pytest.mark.every_engine
@pytest.mark.wide
@pytest.mark.parametrize("name", zoo.pretrained())
def test_a_trained_flow_answers_as_it_did_when_it_was_saved(name):
    kept = np.load(presets.find_preset(name) / "check.npz")
    scores = Flow.from_preset(name).log_prob(kept["rows"], kept.get("context"))
    assert scores.shape == (16,)
    np.testing.assert_allclose(scores, kept["log_prob"], rtol=1e-5)


@pytest.mark.parametrize("name", zoo.pretrained())
def test_a_trained_flow_has_a_card_whose_numbers_are_its_run_s_and_a_recipe(name):
    preset = read_preset(presets.find_preset(name))
    assert (preset.folder / "README.md").read_text(encoding="utf-8") == presets.card(preset.metadata)
    assert preset.measured.keys() & {"test_bits_per_dim", "test_log_prob"}
    assert preset.metadata["license"] == "apache-2.0"
    assert len(preset.metadata["data"]["sha256"]) == 64
    assert sum(path.stat().st_size for path in preset.folder.iterdir()) < 3_000_000
    kept, shipped = read_recipe(str(preset.recipe)), read_recipe(name)
    assert (kept.model, kept.sampling) == (shipped.model, shipped.sampling)
    # Tables adapt to 10,000 rows anyway.
    free = {"epochs"} | ({"adapt_batch"} if isinstance(kind_of(kept), Tables) else set())
    free |= set() if kept.data.validation else {"keep_best"}  # without held-out rows it chooses nothing
    differing = asdict(kept.training).items() - asdict(shipped.training).items()
    assert {key for key, _ in differing} <= free
    ended = preset.measured["epochs"]
    if ended != kept.training.epochs:
        assert ended == preset.measured["kept_epoch"] + kept.training.early_stopping
    assert ("kept_epoch" in preset.measured) == bool(kept.data.validation)
    assert kept.data.validation == shipped.data.validation
    # The card of the family repeats the number.
    digits, key = (3, "test_bits_per_dim") if "test_bits_per_dim" in preset.measured else (2, "test_log_prob")
    number = f"{preset.measured[key]:.{digits}f} +- {preset.measured['test_standard_error']:.{digits}f}"
    card = (CARDS / name.split("/")[0] / "README.md").read_text(encoding="utf-8")
    row, *_ = [line for line in card.splitlines() if line.startswith("|") and f"`{name}`" in line]
    assert number in row


@pytest.mark.parametrize("name", REACHED)
def test_a_trained_flow_is_what_its_recipe_builds_and_scores_what_it_reached(name):
    flow, test = zoo.load(name), load_data(read_recipe(name), "test")
    built = build_flow(read_recipe(name), test)
    assert [tuple(w.shape) for w in flow.weights] == [tuple(w.shape) for w in built.weights]
    images = test.images[:100]
    bits = np.asarray(flow.bits_per_dim(images))
    assert bits.shape == (100,)
    np.testing.assert_allclose(bits.mean(), REACHED[name], rtol=1e-5)


def test_images_come_back_exactly_and_samples_are_finite(recwarn):
    flow, images = zoo.load("glow/fashion-mnist"), data.load("fashion-mnist", split="test", limit=32).images
    np.testing.assert_array_equal(np.asarray(flow.decode(flow.encode(images))), images)
    drawn = np.asarray(flow.sample(256, temperature=1.0, seed=0))
    assert drawn.shape == (256, 28, 28, 1)
    assert not [w for w in recwarn if "overflowed" in str(w.message)]
    assert drawn.std() > 50  # clothes on black, not a constant


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match="got 'glow/fashion', expected a trained flow; the nearest are glow/fashion-mnist"
    ):
        zoo.load("glow/fashion")


def test_the_commands_take_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "glow/digits", "-n", "4"]) == 0
    assert (tmp_path / "grid.png").exists()
    assert main(["evaluate", "glow/digits"]) == 0
    assert "test bits/dim 2.37" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["glow/digits", "glow/digits-conditional", "glow/fashion-mnist"])
def test_the_sum_of_its_data_is_that_of_the_data_here(name):
    preset = read_preset(presets.find_preset(name))
    recipe = read_recipe(str(preset.recipe))
    splits = [load_data(recipe, split) for split in ("train", "validation", "test")]
    assert data.content_hash(*splits) == preset.metadata["data"]["sha256"]
    counts = [preset.measured[f"{split}_images"] for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == counts
