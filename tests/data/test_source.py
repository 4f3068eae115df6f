"""`load`: names, array files, IDX, CIFAR-10, parquet, and what all of them share."""

import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from flowkit.data import absolute, batches, load, load_table

pytestmark = pytest.mark.one_engine

# ------------------------------------------------------------------ names and arguments


def test_digits_have_seventeen_levels():
    train, test = load("digits"), load("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.levels == 17
    assert train.images.max() == 16
    assert train.images.shape[1:] == (8, 8, 1)
    assert train.classes[train.labels[3]] == "3"


def test_smaller_arrays_get_zeros_around_them():
    plain, padded = load("fashion-mnist", limit=10), load("fashion-mnist", limit=10, size=32)
    assert np.array_equal(padded.images[:, 2:-2, 2:-2], plain.images)
    assert padded.images.sum() == plain.images.sum()


def test_larger_arrays_are_averaged():
    plain, small = load("fashion-mnist", limit=10), load("fashion-mnist", limit=10, size=14)
    boxes = plain.images.reshape(10, 14, 2, 14, 2, 1).mean((2, 4))
    # Pillow rounds twice, once for each axis.
    assert np.abs(small.images - boxes).max() <= 1


def test_grey_arrays_become_colour_by_repetition():
    data = load("digits", channels=3, limit=4)
    assert data.images.shape == (4, 8, 8, 3)
    assert (data.images == data.images[..., :1]).all()


# ------------------------------------------------------------------ .npy and .npz


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (50, 6, 6, 3)).astype(np.uint8)


def test_npy_is_split_without_loss(tmp_path, images):
    np.save(tmp_path / "a.npy", images)
    train, test = load(tmp_path / "a.npy"), load(tmp_path / "a.npy", "test")
    assert (len(train), len(test)) == (45, 5)
    together = {image.tobytes() for image in (*train.images, *test.images)}
    assert together == {image.tobytes() for image in images}


@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
def test_npz_with_splits(tmp_path, images, keys):
    arrays = (images[:40], np.arange(40), images[40:], np.arange(10))
    np.savez(tmp_path / "a.npz", **dict(zip(keys, arrays, strict=True)))
    train, test = load(tmp_path / "a.npz"), load(tmp_path / "a.npz", "test")
    assert np.array_equal(train.images, images[:40])
    assert np.array_equal(test.images, images[40:])
    assert test.labels.tolist() == list(range(10))


def test_npz_without_splits_keeps_labels_with_their_images(tmp_path, images):
    images[:, 0, 0, 0] = np.arange(50)
    np.savez(tmp_path / "named.npz", images=images, labels=np.arange(50))
    np.savez(tmp_path / "unnamed.npz", images, np.arange(50))
    for name in ("named.npz", "unnamed.npz"):
        data = load(tmp_path / name)
        assert len(data) == 45
        assert (data.images[:, 0, 0, 0] == data.labels).all()


def test_npz_with_several_arrays_takes_a_name(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(
        path, images=images, labels=np.arange(50), x_train=images[:40], x_test=images[40:], more=images[:20]
    )
    assert len(load(path)) == 40
    assert len(load(f"{path}:images")) == 45
    labels = [load(f"{path}:images", split).labels for split in ("train", "test")]
    assert sorted(np.concatenate(labels)) == list(range(50))
    assert [len(load(f"{path}:x_train", split)) for split in ("train", "test")] == [40, 10]
    more = load(f"{path}:more")
    assert len(more) == 18
    assert more.labels is None
    with pytest.raises(ValueError, match=r"a\.npz: got images, labels, x_.*, expected none\."):
        load(f"{path}:none")
    np.savez(path, pictures=images)
    assert len(load(path)) == 45


def test_absolute_keeps_names_and_what_is_chosen_in_a_file(tmp_path, images, monkeypatch):
    np.savez(tmp_path / "a.npz", mine=images)
    monkeypatch.chdir(tmp_path)
    assert absolute("digits") == "digits"
    assert absolute("a.npz") == str(tmp_path / "a.npz")
    assert absolute("a.npz:mine") == f"{tmp_path / 'a.npz'}:mine"
    with pytest.raises(FileNotFoundError, match=r"b\.npz: got no file or folder"):
        absolute("b.npz:mine")


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


# ------------------------------------------------------------------ IDX


def test_mnist_folder_unpacked_and_with_dots(tmp_path, write_idx):
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images.idx3-ubyte", np.ones((3, 4, 4)))
        write_idx(tmp_path / f"{prefix}-labels.idx1-ubyte", np.ones(3))
    assert load(tmp_path, "test").images.shape == (3, 4, 4, 1)


def test_one_idx_file_finds_its_labels(mnist_folder):
    data = load(mnist_folder / "train-images-idx3-ubyte.gz")
    whole = load(mnist_folder)
    assert len(data) == 27
    of = {image.tobytes(): label for image, label in zip(whole.images, whole.labels, strict=True)}
    assert [of[image.tobytes()] for image in data.images] == data.labels.tolist()


def test_idx_by_content_under_any_name(tmp_path, write_idx):
    write_idx(tmp_path / "pictures", np.ones((20, 4, 4)), packed=True)
    data = load(tmp_path / "pictures")
    assert data.images.shape == (18, 4, 4, 1)
    assert data.labels is None


# ------------------------------------------------------------------ CIFAR-10


@pytest.fixture
def cifar_folder(tmp_path, rng):
    """CIFAR-10's binary version, 4 images in each file; all files are of the same images."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = rng.integers(0, 256, (4, 3073), dtype="uint8")
    records[:, 0] = range(4)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def test_cifar10(cifar_folder, most_bytes):
    train, test = load(cifar_folder), load(cifar_folder.parent, "test")
    assert train.images.shape == (20, 32, 32, 3)
    assert test.images.shape == (4, 32, 32, 3)
    assert train.labels.tolist() == [0, 1, 2, 3] * 5
    assert train.classes[0] == "airplane"
    raw = np.fromfile(cifar_folder / "test_batch.bin", "uint8").reshape(4, 3073)
    assert test.images[1, 2, 3].tolist() == raw[1, 1:].reshape(3, 32, 32)[:, 2, 3].tolist()
    most_bytes(12_000)
    with pytest.raises(ValueError, match="at most 12,000"):
        load(cifar_folder, "test")


def test_pickles_are_refused_with_a_cure(tmp_path):
    for inside in ("", "cifar-10-batches-py"):
        (tmp_path / inside).mkdir(exist_ok=True)
        (tmp_path / inside / "data_batch_1").write_bytes(pickle.dumps(Payload()))
        with pytest.raises(
            ValueError, match=r"got CIFAR-10's Python version, .* Unpack cifar-10-binary\.tar\.gz"
        ):
            load(tmp_path)
        (tmp_path / inside / "data_batch_1").unlink()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match=r"arrays of a pickle, which could run any code, with np\.savez"):
        load(tmp_path / "a.pkl")
    with pytest.raises(ValueError, match=r"save a table as \.csv"):
        load_table(tmp_path / "a.pkl")


# ------------------------------------------------------------------ Parquet


def encoded(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": "a.png"}


@pytest.fixture
def write_parquet(tmp_path):
    polars = pytest.importorskip("polars")

    def write(name, images, column="img", **more):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        polars.DataFrame({column: [encoded(image) for image in images], **more}).write_parquet(path)
        return path

    return write


def test_parquet_files_of_images_as_hugging_face_stores_them(tmp_path, images, write_parquet):
    write_parquet("plain_text/train-00000-of-00002.parquet", images[:20], label=list(range(20)))
    write_parquet("plain_text/train-00001-of-00002.parquet", images[20:30], label=list(range(20, 30)))
    one = write_parquet("plain_text/test-00000-of-00001.parquet", images[30:], label=list(range(20)))
    train, test = load(tmp_path), load(tmp_path, "test")
    np.testing.assert_array_equal(train.images, images[:30])
    np.testing.assert_array_equal(test.images, images[30:])
    assert train.labels.tolist() == list(range(30))
    assert load(tmp_path, size=3, channels=1).images.shape == (30, 3, 3, 1)
    parts = [load(one, split) for split in ("train", "test")]  # 90/10
    assert [len(part) for part in parts] == [18, 2]
    for part in parts:
        np.testing.assert_array_equal(part.images, images[30:][part.labels])


def test_parquet_files_of_no_images(tmp_path, images, write_parquet, most_bytes):
    polars = pytest.importorskip("polars")
    grey = write_parquet("grey.parquet", images[..., 0], column="image")
    assert load(grey).images.shape == (45, 6, 6, 1)
    assert load(grey).labels is None
    polars.DataFrame({"a": [1.5] * 9}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"got columns 'a', expected one column of images.*\. Tables"):
        load(tmp_path / "a.parquet")
    polars.DataFrame({"image": [{"bytes": b"no image"}] * 9}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, row \d: got .*, expected an image"):
        load(tmp_path / "b.parquet")
    with pytest.raises(FileNotFoundError, match=r"expected some named train-\*\.parquet"):
        load(tmp_path)
    most_bytes(1000)
    with pytest.raises(ValueError, match="expected at most 1,000"):
        load(grey)


# ------------------------------------------------------------------ what is refused


def saved(name, *arrays, **named):
    """A function that saves arrays to a file of this name in a folder, and returns the file."""

    def save(folder):
        path = folder / name
        np.savez(path, *arrays, **named) if name.endswith("npz") else np.save(path, *arrays)
        return path

    return save


def written(name, raw):
    def write(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(raw)
        return folder if name.endswith(".bin") else folder / name

    return write


def pictures(*shapes, dtype="uint8", name="{}.png"):
    """A function that fills a folder with 20 pictures of each shape."""

    def draw(folder):
        for i, shape in enumerate(shape for shape in shapes for _ in range(20)):
            Image.fromarray(np.full(shape, 7, dtype)).save(folder / name.format(i))
        return folder

    return draw


def idx_pair(labels):
    """The test files of MNIST, 20 images of 4x4 beside so many labels; None: no file of labels."""

    def write(folder):
        for kind, array in (("images-idx3", np.ones((20, 4, 4))), ("labels-idx1", np.ones(labels or 1))):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            for split in ("train", "t10k"):
                (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.astype("uint8").tobytes())
        if labels is None:
            (folder / "t10k-labels-idx1-ubyte").unlink()
        return folder

    return write


FIFTY = np.zeros((50, 6, 6, 3), "uint8")
IDX = b"\0\0\x08\x03" + struct.pack(">3I", 2, 4, 4)
CIFAR = r"test_batch\.bin: got .*, expected records of 3,073 bytes .* CIFAR-100"
BAD_SOURCES = [
    ("fashon_mnist", {}, "got 'fashon_mnist', .*; the nearest are fashion-mnist, fashion-mnist-full"),
    ("no/such", {}, "got no file or folder, expected one"),
    ("digits", {"size": (8, -1)}, "size: got -1, expected"),
    (saved("a.npz", pictures=FIFTY, more=FIFTY), {}, "got pictures, more"),
    (saved("a.npz", train_images=FIFTY), {"split": "test"}, "got no test_images, expected train_images and"),
    (
        saved("a.npz", images=FIFTY, labels=np.ones(49)),
        {},
        r"labels\]: got 49, expected one per image, 50 in all",
    ),
    (saved("a.npy", FIFTY[:1]), {}, "at least 2 images"),
    (saved("a.npy", FIFTY + 0.5), {}, r"a\.npy: got .*, expected whole numbers"),
    (idx_pair(19), {"split": "test"}, "got 19, expected one per image, 20 in all"),
    (idx_pair(None), {"split": "test"}, "got no t10k-labels-idx1-ubyte, expected it"),
    (written("train-images-idx3-ubyte", IDX + bytes(33)), {}, "train-images-idx3-ubyte: got .*, expected"),
    (written("table.csv", b"1,2,3"), {}, "got something else, .* recipes of tables, such as nsf/magic"),
    (written("cifar-10-batches-bin/test_batch.bin", bytes(3074 * 4)), {"split": "test"}, CIFAR),
    (written("cifar-10-batches-bin/test_batch.bin", b"\x0a" * 3073), {"split": "test"}, CIFAR),
    (pictures((6, 6, 3), (7, 9, 3)), {}, r"got .* pixels, expected .* as in .*Give a size"),
    (pictures((6, 6), dtype="uint16"), {}, "8 bits per channel"),
    (pictures((6, 6), name="{}.gif"), {}, r"got no image among 20 files, .*\. Save them as \.png"),
    (pictures((6, 6), name="a.png"), {"split": "test"}, r"got \d+ images and none for"),
]


@pytest.mark.parametrize(("source", "options", "message"), BAD_SOURCES)
def test_bad_sources(tmp_path, source, options, message):
    source = source(tmp_path) if callable(source) else source
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("context", "size", "message"),
    [
        (None, 51, "got 51, expected at most 50, the number of events"),
        (np.arange(49), 4, r"context: got shape \(49,\), expected one per event"),
        ({"y": np.arange(51)}, 4, "context: got .* expected one per event"),
    ],
)
def test_batches_that_the_data_cannot_fill(context, size, message):
    with pytest.raises(ValueError, match=message):
        batches(FIFTY, context, batch_size=size)
