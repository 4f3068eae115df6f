"""`load`: names, array files, IDX, CIFAR-10, parquet, and what all of them share."""

import gzip
import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from flowkit.data import absolute, load, load_table
from flowkit.data.packed_images import read_idx

pytestmark = pytest.mark.one_engine

# ------------------------------------------------------------------ names and arguments


def test_digits_have_seventeen_levels():
    train, test = load("digits"), load("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.levels == 17
    assert train.images.max() == 16
    assert train.images.shape[1:] == (8, 8, 1)
    assert train.classes[train.labels[3]] == "3"


def test_unknown_name_lists_the_names_and_the_nearest():
    with pytest.raises(
        ValueError, match=r"got 'fashon_mnist', .*; the nearest are fashion-mnist, fashion-mnist-full"
    ):
        load("fashon_mnist")
    with pytest.raises(
        ValueError,
        match="got 'nothing-like-it'",
    ):
        load("nothing-like-it")


@pytest.mark.parametrize("path", ["/no/such/folder", "none.npz", "no/such"])
def test_missing_path(path):
    with pytest.raises(FileNotFoundError, match="got no file or folder, expected one"):
        load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "split: got 'valid', expected one of"),
        ({"size": 0}, "size: got 0, expected"),
        ({"size": (8, -1)}, "size: got -1, expected"),
        ({"size": "8"}, "size: got '8', expected"),
        ({"size": 2.5}, "size: got 2.5, expected"),
        ({"channels": 4}, "channels: got 4, expected one of"),
        ({"limit": 0}, "limit: got 0, expected"),
        ({"limit": 1.5}, "limit: got 1.5, expected"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **options)


def test_arrays_as_source_are_sent_elsewhere():
    with pytest.raises(TypeError, match="not ndarray"):
        load(np.zeros((2, 4, 4, 1)))


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


def test_whole_floats_are_cast_and_others_refused(tmp_path, images):
    np.save(tmp_path / "a.npy", images.astype(np.float64))
    assert load(tmp_path / "a.npy").images.dtype == np.uint8
    np.save(tmp_path / "a.npy", images / 255)
    with pytest.raises(ValueError, match=r"a\.npy: got .*, expected whole numbers .* scaled to 0\.\.1"):
        load(tmp_path / "a.npy")


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_pickled_arrays_are_never_loaded(tmp_path):
    evil = np.array([Payload()], dtype=object)
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=evil)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("a.npy", "a.npz", "b.npy"):
        with pytest.raises(ValueError, match=r"got dtype object|and no pickle, which could run any code"):
            load(tmp_path / name)


def test_bad_npz(tmp_path, images):
    path = tmp_path / "a.npz"
    np.savez(path, pictures=images, more=images)
    with pytest.raises(ValueError, match="got pictures, more"):
        load(path)
    np.savez(path, train_images=images)
    assert len(load(path)) == 50
    with pytest.raises(ValueError, match="got no test_images, expected train_images and test_images"):
        load(path, "test")
    np.savez(path, images=images, labels=np.arange(49))
    with pytest.raises(ValueError, match=r"labels\]: got 49, expected one per image, 50 in all"):
        load(path)


def test_bad_npy(tmp_path, images):
    path = tmp_path / "a.npy"
    np.save(path, np.float64(3))
    with pytest.raises(ValueError, match=r"got rank 0, shape \(\), expected \(n, height, width, channels\)"):
        load(path)
    np.save(path, images[:1])
    with pytest.raises(ValueError, match="at least 2 images"):
        load(path)


# ------------------------------------------------------------------ IDX


def test_mnist_folder(mnist_folder):
    train, test = load(mnist_folder), load(mnist_folder, "test")
    assert train.images.shape == (30, 28, 28, 1)
    assert test.images.shape == (20, 28, 28, 1)
    assert test.labels.tolist() == [*range(10), *range(10)]


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


def test_missing_and_mismatched_idx(mnist_folder, write_idx):
    labels = mnist_folder / "t10k-labels-idx1-ubyte.gz"
    write_idx(labels, np.zeros(19))
    with pytest.raises(ValueError, match="got 19, expected one per image, 20 in all"):
        load(mnist_folder, "test")
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="got no t10k-labels-idx1-ubyte, expected it"):
        load(mnist_folder, "test")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0",
        b"\0\0\x0d\x03" + bytes(12),
        b"\0\0\x08\x03\0\0",
        b"\0\0\x08\x03" + struct.pack(">3I", 2, 4, 4) + bytes(31),
        b"\0\0\x08\x03" + struct.pack(">3I", 2, 4, 4) + bytes(33),
        b"\0\0\x08\x03" + struct.pack(">3I", *[2**32 - 1] * 3),
        gzip.compress(b"\0\0\x08\x01\0\0\0\x04abcd")[:-9],
        b"\x1f\x8bgarbage",
    ],
    ids=["empty", "short", "floats", "header", "cut", "long", "huge", "cut gzip", "no gzip"],
)
def test_damaged_idx(tmp_path, raw):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(raw)
    for read in (read_idx, load):
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: got .*, expected") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_other_files(tmp_path):
    (tmp_path / "table.csv").write_text("1,2,3")
    with pytest.raises(ValueError, match=r"got something else, .* recipes of tables, such as nsf/magic"):
        load(tmp_path / "table.csv")


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


@pytest.mark.parametrize("raw", [b"", bytes(500), bytes(3074 * 4), b"\x0a" * 3073])
def test_what_is_no_batch_of_cifar10(cifar_folder, raw):
    (cifar_folder / "test_batch.bin").write_bytes(raw)
    with pytest.raises(
        ValueError, match=r"test_batch\.bin: got .*, expected records of 3,073 bytes .* CIFAR-100"
    ):
        load(cifar_folder, "test")
    (cifar_folder / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"No such file.*test_batch\.bin"):
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
