# ruff: noqa: E501  (messages are shown whole)
import tomllib
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import recipes, training

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
    with pytest.raises(recipes.RecipeError) as error:
        recipes.loads(text, overrides, where="r.toml")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_defaults_are_filled_in():
    recipe = recipes.loads(GOOD)
    assert recipe.model["steps"] == 1
    assert recipe.model["coupling"] == "affine"
    assert "input_shape" not in recipe.model
    assert recipe.training.batch_size == 16
    assert recipe.training.adapt_batch == 256
    assert recipe.sampling.temperature == 0.7


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 1\n", "stpes = 1\n", "r.toml:4: model.stpes is not a key of [model]; did you mean 'steps'?"),
        ("batch_size", "batchsize", "r.toml:13: training.batchsize is not a key of [training]; did you mean 'batch_size'?"),
        ("[data]", "[date]", "r.toml:7: date is not a table; did you mean 'data'? (and 1 more)"),
        ('source = "digits"\n', "", "r.toml:7: data.source is missing"),
        ("width = 8", 'width = "8"', "r.toml:5: model.width: expected a whole number, received '8' (string)"),
        ("width = 8", "width = 8.0", "r.toml:5: model.width: expected a whole number, received 8.0 (number)"),
        ("width = 8", "width = true", "r.toml:5: model.width: expected a whole number, received True (true or false)"),
        ("epochs = 2", "epochs = 0", "r.toml:12: training.epochs: expected greater than or equal to 1, received 0 (whole number)"),
        ("ema = 0.9", "ema = [0.9]", "r.toml:17: training.ema: expected a number, received [0.9] (list)"),
        ('"cosine"', '"cosin"', "r.toml:16: training.schedule: expected 'constant' or 'cosine', received 'cosin' (string)"),
        ('name = "glow"', 'name = "glwo"', "r.toml:2: model.name: expected one of glow, received 'glwo'; did you mean 'glow'?"),
        ('name = "glow"', "", "r.toml:1: model.name: expected one of glow, received nothing"),
        ("clip_norm = 50", 'optimizer = "adma"', "r.toml:18: training.optimizer: expected one of adadelta, "),
        ("clip_norm = 50", "warmup_epochs = 1.0", "r.toml:11: training: expected warmup_steps or warmup_epochs, received both"),
        ("clip_norm = 50", "polyak_epochs = 0", "r.toml:18: training.polyak_epochs: expected greater than 0, received 0"),
        ("limit = 80", 'augment = ["flop"]', "r.toml:9: data.augment: expected 'shift', 'flip' or 'distort', received ['flop'] (list)"),
        ("clip_norm = 50", "learning_rat = 1", "r.toml:18: training.learning_rat is not a key"),
        ("limit = 80", "size = [8, 'a']", "r.toml:9: data.size: expected "),
        ("[model]", "[model", "r.toml:1: not valid TOML: "),
        ("epochs = 2", "epochs = ", "r.toml:12: not valid TOML: Invalid value"),
        ("epochs = 2", "epochs = 2\nepochs = 3", "r.toml:13: not valid TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(old, new, message):
    assert refusal(changed(old, new)).startswith(message)


def test_nearest_optimizer_is_named():
    assert refusal(GOOD + 'optimizer = "adm"\n').endswith("received 'adm'; did you mean 'adam'?")


def test_a_table_of_another_kind():
    assert refusal("model = 3").startswith("r.toml:1: model: expected a table, received 3")


def test_cut_off_in_a_string():
    assert refusal('[model]\nname = "gl').startswith("r.toml:2: not valid TOML: ")


def test_dotted_keys_and_inline_tables_have_lines_too():
    text = 'model.name = "glow"\nmodel.stpes = 3\ndata.source = "digits"\n'
    assert refusal(text).startswith("r.toml:2: model.stpes")
    text = 'data = {source = "digits"}\nmodel = {name = "glow", stpes = 3}\n'
    assert refusal(text).startswith("r.toml:2: model.stpes")


def test_overrides_are_toml_or_bare_words():
    recipe = recipes.loads(
        GOOD, ["model.steps=3", "training.schedule=constant", "sampling.temperature = 0.5"]
    )
    assert recipe.model["steps"] == 3
    assert recipe.training.schedule == "constant"
    assert recipe.sampling.temperature == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.stpes=3", "--set: model.stpes is not a key of [model]; did you mean"),
        ("model.steps=many", "--set: model.steps: expected a whole number, received 'many'"),
        ("steps=3", "--set steps=3: expected table.key=value"),
        ("model.steps", "--set model.steps: expected table.key=value"),
        ("model.steps=", "--set model.steps=: '' is not a TOML value"),
        ("model.steps=[3", "--set model.steps=[3: '[3' is not a TOML value"),
    ],
)  # fmt: skip
def test_overrides_are_validated_as_overrides(override, message):
    assert refusal(GOOD, [override]).startswith(message)


def test_other_options_are_named_as_they_were_given():
    override = recipes.Override("training.epochs", -1, label="--epochs")
    assert refusal(GOOD, [override]).startswith("--epochs")


def test_names_of_recipes_are_found_and_the_nearest_listed():
    assert {"glow/fashion-mnist", "glow/digits"} <= set(recipes.available())
    assert recipes.load("glow/digits").data.source == "digits"
    with pytest.raises(recipes.RecipeError, match="no recipe 'glow/digit'; the nearest are glow/digits"):
        recipes.find("glow/digit")
    with pytest.raises(recipes.RecipeError, match=r"no/such\.toml: expected a recipe file"):
        recipes.find("no/such.toml")


@pytest.mark.parametrize("name", sorted(recipes.available()))
def test_every_recipe_that_comes_with_flowkit_is_valid(name):
    assert recipes.load(name).training.epochs > 0


def test_binary_file_is_refused(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(recipes.RecipeError, match="cannot be read as text"):
        recipes.load(str(tmp_path / "a.toml"))


def test_resolved_recipe_reads_back_the_same():
    recipe = recipes.loads(GOOD)
    assert recipes.loads(recipes.dumps(recipe)) == recipe


def test_toml_writer_is_exact():
    tables = {
        "a": {"i": -3, "f": 1e-05, "g": 0.1 + 0.2, "t": True, "l": [1, [2.5, "x"]], "e": []},
        "odd name.": {'k "q"': 'quote " slash \\ tab \t newline \n nul \x00 del \x7f é 😀'},
    }
    assert tomllib.loads(recipes.dumps(tables)) == tables
    assert repr(tomllib.loads(recipes.dumps({"a": {"t": True, "f": 1.0}}))["a"]) == ("{'t': True, 'f': 1.0}")


def test_prepared_experiment_is_what_the_recipe_says():
    made = recipes.prepare(recipes.loads(GOOD))
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
    return recipes.build_optimizer(recipes.loads(GOOD, changes), steps_per_epoch).inner_optimizer


def test_polyak_epochs_is_the_decay_of_averages_and_of_glows_adamax():
    glow = ("training.optimizer=glow-adamax", "training.polyak_epochs=2")
    text = GOOD.replace("ema = 0.9\n", "")

    def build(*changes):
        return recipes.build_optimizer(recipes.loads(text, changes), 50).inner_optimizer

    made = build(*glow)
    assert isinstance(made, training.GlowAdamax)
    assert made.beta_2 == made.ema_momentum == 1 - 1 / 100
    assert made.use_ema
    off = build(*glow, "training.ema=0")
    assert (off.use_ema, off.beta_2) == (False, 1 - 1 / 100)
    other = build(*glow, "training.ema=0.5")
    assert (other.use_ema, other.ema_momentum, other.beta_2) == (True, 0.5, 1 - 1 / 100)
    adam = build("training.polyak_epochs=2")
    assert (adam.use_ema, adam.ema_momentum) == (True, 1 - 1 / 100)
    assert not build().use_ema
    with pytest.raises(recipes.RecipeError, match=r"polyak_epochs = 0.01, which is 0.5 steps: expected more"):
        build("training.polyak_epochs=0.01")


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
    assert all("the whole run has 40" in line and "--set training.ema=0" in line for line in said)


def test_warm_up_in_epochs_is_by_step():
    made = optimizer("training.warmup_steps=0", "training.warmup_epochs=1.5", "training.schedule=constant")
    assert made.get_config()["learning_rate"]["config"]["warmup_steps"] == 75
    with pytest.warns(UserWarning, match=r"warmup_epochs = 3.0 is 150 steps, but the whole run has 100"):
        optimizer("training.warmup_steps=0", "training.warmup_epochs=3.0")


@pytest.mark.parametrize("ema", [0.75, 0])
def test_what_fit_leaves_to_score_and_sample_are_the_averaged_weights_unless_turned_off(ema):
    made = recipes.prepare(
        recipes.loads(GOOD, ["training.epoch_steps=1", "training.epochs=8", f"training.ema={ema}"])
    )
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
    recipe = recipes.loads(GOOD, changes)
    made = recipes.prepare(recipe)
    assert made.flow.event_shape == (4, 4, 1)
    assert len(made.batches) == 7
    (batch,) = made.batches[3]
    assert batch.shape == (16, 4, 4, 1)
    again = recipes.prepare(recipe)
    assert np.array_equal(again.batches[3][0], batch)
    assert made.test.images.shape[1:] == (4, 4, 1)
    assert np.array_equal(made.test.images, recipes.load_data(recipe, "test").images)
    whole = recipes.load_data(recipes.loads(GOOD), "test").images
    windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (4, 4), (1, 2))
    assert (windows == made.test.images[:, None, None, ..., 0]).all((3, 4)).any((1, 2)).all()


def test_data_that_are_not_there_are_asked_for():
    with pytest.raises(recipes.RecipeError, match=r"no/such: expected a file or folder.*--data PATH gives"):
        recipes.load_data(recipes.loads(GOOD, ["data.source=no/such"]), "train")
    with pytest.raises(recipes.RecipeError, match=r"received 'digit'. Did you mean 'digits'"):
        recipes.load_data(recipes.loads(GOOD, ["data.source=digit"]), "train")


def test_precision_reaches_the_networks_and_nothing_else():
    made = recipes.prepare(recipes.loads(GOOD, ["training.precision=mixed_bfloat16"]))
    computed_in = {layer.compute_dtype for layer in made.flow._flatten_layers()}
    assert computed_in == {"float32", "bfloat16"}
    assert {str(w.dtype) for w in made.flow.trainable_weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_same_seed_same_start_and_another_seed_another():
    def weights(seed):
        made = recipes.prepare(recipes.loads(GOOD, [f"training.seed={seed}"]))
        return [ops.convert_to_numpy(w).tobytes() for w in made.flow.variables]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_class_conditional_recipe_feeds_labels():
    made = recipes.prepare(recipes.loads(GOOD, ["model.num_classes=10"]))
    (batch,) = made.batches[0]
    assert batch["context"].shape == (16,)
    assert made.context(made.train) is made.train.labels


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.num_classes=3", "model.num_classes = 3, but digits has labels up to 9"),
        ("model.levels=7", r"\[model\] does not fit digits: "),
        ("model.coupling=afine", r"\[model\] does not fit digits: "),
    ],
)
def test_what_only_the_data_can_tell(override, message):
    with pytest.raises(recipes.RecipeError, match=message):
        recipes.prepare(recipes.loads(GOOD, [override]))


def test_a_warm_up_longer_than_the_run_is_shortened():
    """A recipe made for many images meets a folder of few."""
    with pytest.warns(UserWarning, match="the whole run has 10: the warm-up takes 1 instead"):
        made = recipes.prepare(recipes.loads(GOOD, ["training.warmup_steps=10"]))
    schedule = made.flow.optimizer.get_config()["inner_optimizer"]["config"]["learning_rate"]["config"]
    assert (schedule["warmup_steps"], schedule["total_steps"]) == (1, 10)
