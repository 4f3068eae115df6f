import io

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from standin import Standin, identical, rows, values

import flowkit
from flowkit import training
from flowkit.training.pictures import class_places, plot_curves, titled

pytestmark = pytest.mark.one_engine


def test_grid_puts_each_image_in_its_place():
    images = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones((1, 2, 3, 1), "uint8")
    grid = training.image_grid(images, columns=3, padding=1)
    assert grid.shape == (5, 11)
    assert grid.dtype == np.uint8
    assert (grid[0:2, 4:7] == 1).all()
    assert (grid[3:5, 0:3] == 3).all()
    assert (grid[3:5, 8:11] == 255).all()  # no sixth image
    assert (grid[2] == 255).all()
    few = [training.image_grid(np.full((1, 1, 1), k, "uint8"), levels=17).tolist() for k in (8, 16)]
    assert few == [[[127]], [[255]]]  # stretched


def test_png_round_trip(tmp_path):
    for shape in ((3, 5), (3, 5, 3)):
        array = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
        training.save_png(tmp_path / "new" / "a.png", array)
        assert (np.asarray(Image.open(tmp_path / "new" / "a.png")) == array).all()
    with pytest.raises(ValueError, match="got float64"):
        training.save_png(tmp_path / "a.png", np.zeros((2, 2)))


def test_curves_draw_something_and_leave_matplotlib_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    training.save_curves(tmp_path / "one.png", [1, 2, 3], {"train": [3.0, 2.0, None]})
    training.save_curves(tmp_path / "two.png", [1, 2, 3], {"train": [1.0, 2.0, 1.5]})
    one, two = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("one", "two"))
    assert one.shape == two.shape == (480, 720, 4)
    assert (one != two).any()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("count", [1, 2, 3])
def test_epochs_are_whole_numbers(count):
    axes, epochs = Figure().add_subplot(), list(range(1, count + 1))
    plot_curves(axes, epochs, {"train": [1.0] * count})
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == epochs


@keras.saving.register_keras_serializable(package="standin")
class Sampling(Standin):
    """A stand-in that samples its own weights, so that a picture shows which ones were in place."""

    def sample(self, n, context=None, *, temperature=1.0, seed=None, spread=False):
        weight = float(np.abs(keras.ops.convert_to_numpy(self.shift.kernel)).sum())
        shape = (n, 2, 2, 1) if context is None else (n, len(context), 2, 2, 1)
        images = np.random.default_rng(seed).integers(0, 100, shape)
        if context is not None:
            images = np.zeros(shape, int) + context[None, :, None, None, None]
        return (images + int(weight)).astype("uint8")


def fit(callbacks):
    optimizer = training.GuardedOptimizer(keras.optimizers.SGD(0.3, use_ema=True, ema_momentum=0.99))
    keras.utils.set_random_seed(0)
    model = Sampling()
    model.build((None, 4))
    model.compile(optimizer)
    model.fit(rows(), batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def test_sample_grid_shows_the_averaged_weights_and_disturbs_nothing(tmp_path):
    plain, watched = fit([]), fit([training.SampleGrid(tmp_path, 4, every=2)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-002.png", "epoch-004.png"]
    assert identical(values(plain.variables), values(watched.variables))
    assert identical(values(plain.optimizer.variables), values(watched.optimizer.variables))
    grid = training.enlarged(training.sample_grid(watched, 4))  # fit leaves the averages in place
    assert grid.shape[0] >= 512
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "epoch-004.png")), grid)


def test_sample_grid_has_rows_for_each_class():
    model = Sampling()
    model.build((None, 4))
    model.shift.kernel.assign(np.zeros((8, 4)))
    grid = training.sample_grid(model, 6, classes=2)
    assert grid.shape == (2 + 2 + 2, 3 * 2 + 2 * 2)
    assert (grid[0, :2].tolist(), grid[-1, :2].tolist()) == ([0, 0], [1, 1])
    wide = training.sample_grid(model, 16, classes=2)  # two rows for each class
    assert wide.shape == (4 * 2 + 3 * 2, 4 * 2 + 3 * 2)
    assert wide[::4, 0].tolist() == [0, 0, 1, 1]


@given(count=st.integers(1, 200), classes=st.integers(1, 20))
def test_a_grid_of_classes_has_as_many_places_as_images(count, classes):
    places = class_places(count, classes)
    counts = np.bincount(places[places >= 0], minlength=classes)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1
    for row in places:
        assert len(set(row) - {-1}) == 1
        assert row[0] >= 0


def test_rows_have_their_titles_to_the_left():
    picture = np.zeros((40, 20), "uint8")
    found = titled(picture, ["1", ""])
    assert (found[:, -20:] == picture).all()
    assert found[:20, :-20].min() < 128
    assert (found[20:, :-20] == 255).all()


@pytest.mark.parametrize("channels", [2, 8])
def test_images_that_are_no_pictures_are_refused_before_training(tmp_path, channels):
    grid = training.SampleGrid(tmp_path)
    grid.set_model(flowkit.zoo.glow(levels=1, steps=1, width=4, input_shape=(4, 4, channels)))
    with pytest.raises(ValueError, match=rf"got a model of events \(4, 4, {channels}\), expected .*1 or 3\)"):
        grid.on_train_begin()


def test_a_notebook_shows_a_grid_enlarged(tmp_path):
    images = np.arange(6 * 8 * 8, dtype="uint8").reshape(6, 8, 8, 1) % 200
    grid = training.ImageGrid(list(images), columns=3)
    shown = np.asarray(Image.open(io.BytesIO(grid._repr_png_())))
    assert (shown[::8, ::8] == training.image_grid(images, columns=3)).all()
    grid.save(tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").size == (3 * 8 + 2 * 2, 2 * 8 + 2)
