# ruff: noqa: E501  (messages are shown whole)
import inspect
import tomllib
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import data, training, zoo
from flowkit._shipped import recipe_files
from flowkit.app.experiment import build_optimizer, prepare
from flowkit.app.experiment import load as load_data
from flowkit.app.failure import RecipeError
from flowkit.app.recipe import dumps, parse_recipe, read_recipe

GOOD = """\
[model]
name = "glow"
levels = 1
steps = 1
width = 8

[data]
source = "digits"
limit = 80

[training]
epochs = 2
batch_size = 16
learning_rate = 2e-3
warmup_steps = 4
schedule = "cosine"
ema = 0.9
clip_norm = 50
"""


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def refusal(text, overrides=()):
    with pytest.raises(RecipeError) as error:
        parse_recipe(text, overrides, where="r.toml")
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 1\n", "stpes = 1\n", "model.stpes is not a key of a recipe; the nearest is steps"),
        ("[data]", "[date]", "date is not a key of a recipe; the nearest are data, model"),
        ('source = "digits"\n', "", "data.source is missing"),
        ("width = 8", "width = 1979-05-27", "model.width: got datetime.date(1979, 5, 27), expected a whole number from 1 to 16384"),
        ("ema = 0.9", "ema = nan", "training.ema: got nan, expected 'auto' or a number in [0, 1)"),
        ('"cosine"', '"cosin"', "training.schedule: got 'cosin', expected one of 'constant', 'cosine'"),
        ('name = "glow"', 'name = "glwo"', "model.name: got 'glwo', expected a family; the nearest is glow"),
        ("limit = 80", 'augment = ["flop"]', "data.augment: got 'flop', expected one of 'shift', 'flip', 'distort'"),
        ("limit = 80", "validation = 1.5", "data.validation: got 1.5, expected a whole number, or a share between 0 and 1"),
        ("clip_norm = 50", "early_stopping = 3", "training.early_stopping: got data.validation = 0, expected a share above 0 to choose an epoch by"),
        ("epochs = 2", "epochs = ", "not valid TOML: Invalid value (at line 12, column 10)"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(old, new, message):
    assert refusal(changed(old, new)).startswith(f"r.toml: {message}")


@pytest.mark.parametrize("family", zoo.ARCHITECTURES)
def test_a_word_in_place_of_a_number_is_refused_before_data_are_read(family):
    arguments = inspect.signature(zoo.ARCHITECTURES[family]).parameters.items()
    numbers = [key for key, argument in arguments if isinstance(argument.default, int | float)]
    for key in set(numbers) - {"context"}:  # which follows from the data
        message = refusal(f'[model]\nname = "{family}"\n[data]\nsource = "none.npy"', [f"model.{key}=x"])
        assert message.startswith(f"r.toml: model.{key}: got 'x', expected ")


def test_lists_thousands_deep_and_numbers_of_thousands_of_digits_are_one_short_line():
    assert "not valid TOML" in refusal(GOOD + f"x = {'[' * 5000}\n")
    assert "training.seed: got '[[[[[[" in refusal(GOOD, [f"training.seed={'[' * 5000}"])
    assert "not valid TOML" in refusal(GOOD + f"seed = {'9' * 5000}\n")
    assert len(refusal(GOOD + f"seed = {'9' * 4000}\n")) < 300
    assert len(refusal(GOOD + f"{'9' * 4000} = 1\n")) < 400


def test_the_mark_that_windows_editors_begin_a_file_with_is_read_over(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_recipe(str(tmp_path / "a.toml")) == parse_recipe(GOOD)


def test_a_limit_of_memory_in_an_old_recipe_is_ignored():
    """The folders of runs hold one, and --resume compares recipes."""
    with pytest.warns(UserWarning, match="max_bytes is ignored: data may take half of this machine's memory"):
        assert parse_recipe(changed("limit = 80", "limit = 80\nmax_bytes = 4294967296")) == parse_recipe(GOOD)


def test_a_table_of_another_kind():
    assert refusal("model = 3").startswith("r.toml: model: got 3, expected a table, [model]")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=3", "--set: got steps, expected table.key=value"),
        ("model.steps=[3", "r.toml: model.steps: got '[3', expected a whole number from 1 to 1024"),
    ],
)  # fmt: skip
def test_overrides_are_validated_as_the_recipe_is(override, message):
    assert refusal(GOOD, [override]).startswith(message)


@pytest.mark.parametrize("name", sorted(recipe_files()))
def test_every_recipe_that_comes_with_flowkit_is_valid(name):
    assert read_recipe(name).training.epochs > 0


def test_toml_writer_is_exact():
    tables = {
        "a": {"i": -3, "f": 1e-05, "g": 0.1 + 0.2, "t": True, "l": [1, [2.5, "x"]], "e": []},
        "odd name.": {'k "q"': 'quote " slash \\ tab \t newline \n nul \x00 del \x7f é 😀'},
    }
    assert tomllib.loads(dumps(tables)) == tables
    assert repr(tomllib.loads(dumps({"a": {"t": True, "f": 1.0}}))["a"]) == ("{'t': True, 'f': 1.0}")


def test_prepared_experiment_is_what_the_recipe_says():
    made = prepare(parse_recipe(GOOD))
    assert made.flow.built
    assert made.train.images.shape == (80, 8, 8, 1)
    assert made.flow.dequantize.levels == 17
    assert len(made.batches) == 5
    optimizer = made.flow.optimizer
    assert isinstance(optimizer, training.GuardedOptimizer)
    inner = optimizer.inner_optimizer
    assert isinstance(inner, keras.optimizers.Adam)
    assert (inner.use_ema, inner.ema_momentum, inner.global_clipnorm) == (True, 0.9, 50)
    rate = inner.get_config()["learning_rate"]["config"]
    assert (rate["peak"], rate["warmup_steps"], rate["total_steps"]) == (2e-3, 4, 10)


def optimizer(*changes, steps_per_epoch=50):
    return build_optimizer(parse_recipe(GOOD, changes), steps_per_epoch).inner_optimizer


def test_polyak_epochs_is_the_decay_of_averages_and_of_glows_adamax():
    """Alone, and with averages off: tests/zoo/test_glow_recipes.py."""
    text = GOOD.replace("ema = 0.9\n", "")

    def build(*changes):
        return build_optimizer(parse_recipe(text, changes), 50).inner_optimizer

    other = build("training.optimizer=glow-adamax", "training.polyak_epochs=2", "training.ema=0.5")
    assert (other.use_ema, other.ema_momentum, other.beta_2) == (True, 0.5, 1 - 1 / 100)
    adam = build("training.polyak_epochs=2")
    assert (adam.use_ema, adam.ema_momentum) == (True, 1 - 1 / 100)
    assert not build().use_ema


@pytest.mark.parametrize(
    ("ema", "noted"),
    [(0.9, True), (0.98, True), (0.5, False), (0.0, False)],
    ids=["tenth", "long", "short", "off"],
)
def test_averages_that_reach_back_to_the_first_steps_are_noted(ema, noted):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer(f"training.ema={ema}", steps_per_epoch=20)  # 40 steps in all
    said = [str(w.message) for w in caught if "reach back" in str(w.message)]
    assert bool(said) == noted
    assert all("the whole run's 40" in line and "--set training.ema=0" in line for line in said)


@pytest.mark.parametrize(("steps_per_epoch", "decay"), [(50, 0.9), (4, 0.0)])
def test_averages_of_recipes_for_own_data_reach_back_a_tenth_of_the_run(steps_per_epoch, decay):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = optimizer("training.ema=auto", "training.warmup_steps=0", steps_per_epoch=steps_per_epoch)
    assert made.use_ema == (decay > 0)
    assert not decay or made.ema_momentum == decay
    assert all(read_recipe(name).training.ema == "auto" for name in ("images", "table"))


@pytest.mark.parametrize("ema", [0.75, 0])
def test_what_fit_leaves_to_score_and_sample_are_the_averaged_weights_unless_turned_off(ema):
    made = prepare(parse_recipe(GOOD, ["training.epoch_steps=1", "training.epochs=8", f"training.ema={ema}"]))
    path = []

    def look(epoch, logs):
        path.append([ops.convert_to_numpy(w).copy() for w in made.flow.trainable_weights])

    watch = keras.callbacks.LambdaCallback(on_epoch_end=look)
    made.flow.fit(made.batches, epochs=4, shuffle=False, verbose=0, callbacks=[watch])
    expected = path[0]
    for weights in path[1:]:
        expected = [ema * a + (1 - ema) * w for a, w in zip(expected, weights, strict=True)]
    for found, wanted in zip(made.flow.trainable_weights, expected, strict=True):
        # Four roundings of weights, and differences of those of one step.
        atol = 8 * np.finfo("float32").eps * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=0, atol=atol)


def test_crop_and_augment_reach_training_adaptation_and_tests():
    changes = ["data.crop=4", 'data.augment=["shift", "flip"]', "training.epoch_steps=7"]
    recipe = parse_recipe(GOOD, changes)
    made = prepare(recipe)
    assert made.flow.event_shape == (4, 4, 1)
    assert len(made.batches) == 7
    (batch,) = made.batches[3]
    assert batch.shape == (16, 4, 4, 1)
    again = prepare(recipe)
    assert np.array_equal(again.batches[3][0], batch)
    assert made.test.images.shape[1:] == (4, 4, 1)
    assert np.array_equal(made.test.images, load_data(recipe, "test").images)
    whole = load_data(parse_recipe(GOOD), "test").images
    windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (4, 4), (1, 2))
    assert (windows == made.test.images[:, None, None, ..., 0]).all((3, 4)).any((1, 2)).all()


def test_precision_reaches_the_networks_and_nothing_else():
    made = prepare(parse_recipe(GOOD, ["training.precision=mixed_bfloat16"]))
    computed_in = {layer.compute_dtype for layer in made.flow._flatten_layers()}
    assert computed_in == {"float32", "bfloat16"}
    assert {str(w.dtype) for w in made.flow.trainable_weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_same_seed_same_start_and_another_seed_another():
    def weights(seed):
        made = prepare(parse_recipe(GOOD, [f"training.seed={seed}"]))
        return [ops.convert_to_numpy(w).tobytes() for w in made.flow.variables]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.num_classes=3",
            "model.num_classes = 3, but digits has labels up to 9: --set model.num_classes=10",
        ),
        ("model.levels=7", r"\[model\] does not fit digits: "),
        ("data.source=~nobody-here/x", "data.source: ~nobody-here/x: got no file or folder, expected one"),
    ],
)
def test_what_only_the_data_can_tell(override, message):
    with pytest.raises(RecipeError, match=message):
        prepare(parse_recipe(GOOD, [override]))


def test_a_warm_up_longer_than_the_run_is_shortened():
    """A recipe made for many images meets a folder of few."""
    made = prepare(parse_recipe(GOOD, ["training.warmup_steps=10"]))
    schedule = made.flow.optimizer.get_config()["inner_optimizer"]["config"]["learning_rate"]["config"]
    assert (schedule["warmup_steps"], schedule["total_steps"]) == (1, 10)


def images(count, channels, side=8, labels=None):
    shape = (count, side, side, channels)
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    return data.Dataset(drawn, labels, 256, "mine")


@pytest.mark.parametrize(
    ("train", "test", "changes", "message"),
    [
        (
            images(20, 1),
            images(4, 1, side=4),
            [],
            r"images of \(4, 4, 1\), expected the \(8, 8, 1\) that .* data.size and data.channels bring",
        ),
        (images(20, 1), images(4, 1), ["model.data_levels=256", "model.n_bits=5"], None),
        (images(20, 2), images(4, 2), ["sampling.count=0"], None),
        (
            images(20, 1, labels=np.arange(20) % 3),
            images(4, 1, labels=np.arange(4)),
            ["model.num_classes=3"],
            "model.num_classes = 3, but mine has labels up to 3",
        ),
        (
            images(20, 1, labels=np.arange(20) % 3),
            images(4, 1),
            ["model.num_classes=3"],
            "model.num_classes = 3, but mine has no labels",
        ),
    ],
)
def test_what_only_the_end_reads_is_refused_before_training(train, test, changes, message, monkeypatch):
    monkeypatch.setattr(data, "load", lambda source, split, **_: {"train": train, "test": test}[split])
    recipe = parse_recipe(GOOD, changes)
    if message is None:
        prepare(recipe)
        return
    with pytest.raises(RecipeError, match=message):
        prepare(recipe)


def test_levels_that_the_data_do_not_have_are_refused_before_training():
    with pytest.raises(
        RecipeError, match=r"digits: got 17 levels, .*expected the 20 that the flow was trained on"
    ):
        prepare(parse_recipe(GOOD, ["model.data_levels=20"]))


@pytest.mark.parametrize(("share", "held"), [(0.25, 20), (7, 7), (0.001, 1)])
def test_what_is_held_out_is_of_the_training_split_by_seed_and_is_not_trained_on(share, held):
    recipe = parse_recipe(GOOD, [f"data.validation={share}"])
    made, whole = prepare(recipe), prepare(parse_recipe(GOOD))
    assert (len(made.train), len(made.validation)) == (80 - held, held)
    both = np.concatenate([made.train.images, made.validation.images]).reshape(80, -1)
    assert sorted(both.tolist()) == sorted(whole.train.images.reshape(80, -1).tolist())
    assert len(np.unique(both, axis=0)) == 80
    assert np.array_equal(made.test.images, whole.test.images)
    assert np.array_equal(made.batches.x, made.train.images)
    assert np.array_equal(load_data(recipe, "train").images, made.train.images)
    assert np.array_equal(load_data(recipe, "validation").images, made.validation.images)
    other = load_data(parse_recipe(GOOD, [f"data.validation={share}", "training.seed=1"]), "validation")
    assert not np.array_equal(other.images, made.validation.images)
    assert whole.validation is None


def test_labels_and_squares_of_what_is_held_out_are_as_those_of_the_test():
    changes = ["data.crop=4", "data.validation=0.25", "model.num_classes=10"]
    made = prepare(parse_recipe(GOOD, changes))
    assert made.validation.images.shape == (20, 4, 4, 1)
    assert made.train.images.shape == (60, 8, 8, 1)
    whole = data.load("digits", "train", limit=80).labels
    assert sorted([*made.train.labels, *made.validation.labels]) == sorted(whole)


def test_all_rows_cannot_be_held_out():
    with pytest.raises(
        RecipeError, match=r"data.validation = 80: got 80 rows or images in digits, expected more than the 80"
    ):
        prepare(parse_recipe(GOOD, ["data.validation=80"]))
    with pytest.raises(RecipeError, match="the recipe holds no rows out to validate on"):
        load_data(parse_recipe(GOOD), "validation")
