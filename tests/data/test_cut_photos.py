import numpy as np
import pytest
import typer
from PIL import Image

from flowkit import data
from flowkit.data import cut_photos

pytestmark = pytest.mark.one_engine


@pytest.fixture
def photographs(tmp_path):
    """Two of one colour each, and one to test with."""
    for name, colour in (
        ("train/a.png", (200, 0, 0)),
        ("train/b.png", (0, 200, 0)),
        ("test/c.png", (0, 0, 200)),
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (600, 300), colour).save(path)
    return tmp_path / "photos"


def test_squares_of_the_splits_come_from_their_own_photographs(photographs, tmp_path, capsys):
    out = tmp_path / "squares.npz"
    cut_photos.main(photographs, out, train=40, test=8, size=16)
    assert "40 + 8 squares of 16x16" in capsys.readouterr().out
    train, test = data.load(out, "train").images, data.load(out, "test").images
    assert (train.shape, test.shape) == ((40, 16, 16, 3), (8, 16, 16, 3))
    assert (test[..., 2] == 200).all()
    assert ((train == 200).all((1, 2)).sum(0) == [20, 20, 0]).all()


def test_squares_are_parts_of_the_averaged_photograph_and_follow_from_the_seed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype="uint8")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.fromarray(pixels).save(tmp_path / split / "a.png")  # smaller than 256: taken as it is
    squares = cut_photos.cut(tmp_path, "train", 10, 8)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (8, 8), (0, 1)).transpose(0, 1, 3, 4, 2)
    for square in squares:
        assert (windows == square).all((2, 3, 4)).any()
    assert np.array_equal(squares, cut_photos.cut(tmp_path, "train", 10, 8))
    assert not np.array_equal(squares, cut_photos.cut(tmp_path, "train", 10, 8, seed=1))
    assert cut_photos.averaged(tmp_path / "train" / "a.png", 20).shape == (20, 25, 3)


def test_what_is_too_small_is_said_in_one_line(photographs, tmp_path):
    with pytest.raises(typer.BadParameter, match="expected photographs of 400x400 or more, one has 600x300"):
        cut_photos.main(photographs, tmp_path / "a.npz", size=400)
    assert not (tmp_path / "a.npz").exists()
