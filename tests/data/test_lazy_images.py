"""Images that stay on the disk: the same batches as from memory, and no process reads more than its part."""

import copy
from pathlib import Path

import numpy as np
import pytest

from flowkit import data, distributed
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe
from flowkit.data import LazyImages, batches, content_hash, load, source
from flowkit.data.dataset import fingerprint

pytestmark = pytest.mark.one_engine


@pytest.fixture
def folder(tmp_path, rng, save_image):
    """60 images of noise in two classes, 6x6, one of them in colour."""
    for i in range(60):
        image = rng.integers(0, 256, (6, 6, 3) if i == 40 else (6, 6))
        save_image(tmp_path / "images" / "ab"[i % 2] / f"{i:02}.png", image)
    return tmp_path / "images"


@pytest.fixture
def array_file(tmp_path, rng):
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (60, 8, 6, 3), dtype="uint8"))
    return tmp_path / "images.npy"


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are read, in order."""
    names, read = [], source.read_image

    def noted(path, **arguments):
        names.append(Path(path).name)
        return read(path, **arguments)

    monkeypatch.setattr(source, "read_image", noted)
    return names


def as_rank(monkeypatch, rank, gathered=lambda rows: rows):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "mine", lambda rows: np.array_split(rows, 2)[rank])
    monkeypatch.setattr(distributed, "gather", gathered)


# Sizes above and below that of what is stored, grey and colour.
WAYS = [{}, {"size": 4}, {"size": (4, 6), "channels": 1}, {"limit": 7}, {"channels": 3, "size": 12}]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["folder", "array_file"])
def test_the_same_images_and_labels_as_in_memory(request, source, way, split):
    path = request.getfixturevalue(source)
    held, lazy = load(path, split, **way), load(path, split, in_memory=False, **way)
    assert isinstance(lazy.images, LazyImages)
    assert isinstance(held.images, np.ndarray)
    assert (lazy.images.shape, lazy.images.nbytes) == (held.images.shape, held.images.nbytes)
    np.testing.assert_array_equal(lazy.images[:], held.images)
    np.testing.assert_array_equal(lazy.labels, held.labels)
    assert lazy.classes == held.classes
    assert content_hash(lazy) == content_hash(held)
    assert fingerprint(lazy.images) == fingerprint(held.images)


@pytest.mark.parametrize("source", ["folder", "array_file"])
def test_the_same_batches_bit_for_bit(request, source):
    path = request.getfixturevalue(source)
    ways = {
        "batch_size": 8,
        "epoch_steps": 9,
        "seed": 3,
        "augment": [data.augment.flip(), data.augment.shift(0.4)],
    }
    held, lazy = (batches(load(path, in_memory=way).images, **ways) for way in (True, False))
    for epoch in range(2):
        held.epoch = lazy.epoch = epoch
        np.testing.assert_array_equal([x for (x,) in lazy], [x for (x,) in held])
    np.testing.assert_array_equal(copy.deepcopy(lazy)[0][0], held[0][0])


def test_rows_are_indexed_as_those_of_an_array(rng):
    held = rng.integers(0, 256, (9, 2, 2, 1), dtype="uint8")
    lazy = LazyImages(lambda rows: held[rows], held.shape)
    for index in (3, -1, slice(2, 7, 2), [4, 4, 0], held[:, 0, 0, 0] > 99, []):
        np.testing.assert_array_equal(lazy[index], held[index])
    with pytest.raises(IndexError):
        lazy[9]
    some = lazy.taken(np.array([7, 2, 5]))
    assert isinstance(some, LazyImages)
    np.testing.assert_array_equal(some[1:], held[[2, 5]])


def test_rows_alone_are_read_from_a_file_of_arrays(array_file):
    """What another process changes in the file is seen, so nothing of it is held."""
    lazy = load(array_file, in_memory=False).images
    before = lazy[3].copy()
    place = array_file.read_bytes().index(lazy[0].tobytes())
    with open(array_file, "r+b") as written:
        written.seek(place)
        written.write(bytes(lazy[0].size))
    assert not lazy[0].any()
    np.testing.assert_array_equal(lazy[3], before)


def test_what_has_to_be_looked_at_or_unpacked_is_held(tmp_path, write_idx):
    x = np.full((20, 4, 4, 1), 7)
    np.save(tmp_path / "floats.npy", x.astype("float32"))
    np.savez(tmp_path / "images.npz", images=x.astype("uint8"))
    write_idx(tmp_path / "a-images-idx3-ubyte.gz", x[..., 0])
    for path in tmp_path.iterdir():
        held = load(path, in_memory=False).images
        assert isinstance(held, np.ndarray)
        assert (held == 7).all()


def test_a_file_that_is_too_large_to_hold_is_read_by_rows(array_file, most_bytes):
    most_bytes(8000)
    with pytest.raises(ValueError, match="at most 8,000"):
        load(array_file)
    assert load(array_file, in_memory=False).images[5:9].shape == (4, 8, 6, 3)


def test_each_process_looks_at_its_part_and_reads_its_rows_alone(monkeypatch, folder, opened):
    whole = load(folder).images
    opened.clear()
    parts, seen = [], []
    shapes = [np.array_split(np.full((len(whole), 3), [6, 6, 1]), 2)[rank] for rank in range(2)]
    for rank in range(2):
        # What the other process has found is as if it were this one's.
        as_rank(monkeypatch, rank, lambda rows: np.concatenate(shapes) if rows.ndim == 2 else rows)
        lazy = load(folder, channels=1, in_memory=False).images
        seen.append(opened.copy())
        opened.clear()
        ordered = batches(lazy, batch_size=10)
        parts.append([x for (x,) in ordered])
        assert len(opened) == len(ordered) * 5  # each row once
        opened.clear()
    assert not set(seen[0]) & set(seen[1])
    assert len(seen[0]) + len(seen[1]) == len(whole)
    monkeypatch.undo()
    expected = [x for (x,) in batches(load(folder, channels=1).images, batch_size=10)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


@pytest.mark.parametrize("damage", ["text", "larger"])
def test_the_same_refusal_as_in_memory(folder, save_image, damage):
    for i in range(20):  # in both splits
        path = folder / "a" / f"damaged-{i}.png"
        path.write_text("no image") if damage == "text" else save_image(path, np.zeros((7, 9)))
    refusals = []
    for in_memory in (True, False):
        with pytest.raises(ValueError, match="expected") as refused:
            load(folder, in_memory=in_memory)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("crop", [None, 4])
def test_a_recipe_in_a_group_leaves_them_on_the_disk(monkeypatch, array_file, crop):
    settings = [f"data.source={str(array_file)!r}", *([] if crop is None else [f"data.crop={crop}"])]
    settings.append("data.validation=3")
    recipe = read_recipe("glow/digits", settings)
    splits = ("train", "validation", "test")
    alone = [load_data(recipe, split).images for split in splits]
    as_rank(monkeypatch, 1)
    grouped = [load_data(recipe, split).images for split in splits]
    for held, lazy in zip(alone, grouped, strict=True):
        assert isinstance(held, np.ndarray)
        assert isinstance(lazy, LazyImages)
        np.testing.assert_array_equal(np.asarray(lazy), held)
