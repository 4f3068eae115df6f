"""What a file may take in memory: what it declares is looked at before it is unpacked."""

import os
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from flowkit.data import bounded, load

pytestmark = pytest.mark.one_engine

MB = 10**6


def peak(act):
    """The most memory that `act` held, in bytes, NumPy's arrays included."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path, match, **options):
    """Loading is refused in one line, and has taken next to nothing by then."""

    def act():
        with pytest.raises(ValueError, match=match) as caught:
            load(path, **options)
        assert "\n" not in str(caught.value)

    assert peak(act) < 12 * MB


def zeros(path, header, megabytes):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with open(path, "wb") as file:
        file.write(packer.compress(header))
        for _ in range(megabytes):
            file.write(packer.compress(bytes(MB)))
        file.write(packer.flush())
    return path


def npz(path, shape, megabytes, descr="|u1", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as file, file.open("images.npy", "w") as member:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(megabytes):
            member.write(bytes(MB))
    return path


def test_a_gzip_bomb_is_read_as_far_as_its_header_says(tmp_path):
    header = b"\0\0\x08\x03" + struct.pack(">3I", 10, 28, 28)
    refused(zeros(tmp_path / "a-ubyte.gz", header, 300), "not 7,840 bytes")


@pytest.mark.parametrize(
    ("count", "match"),
    [
        (100, "got data of .*, expected at most 50,000,000, half of this machine's memory"),
        (10**6, "got data of 1,000,000,000,000"),
    ],
)
def test_a_header_that_asks_for_too_much_is_not_obeyed(tmp_path, count, match, most_bytes):
    most_bytes(50 * MB)
    header = b"\0\0\x08\x03" + struct.pack(">3I", count, 1000, 1000)
    refused(zeros(tmp_path / "a-ubyte.gz", header, 100), match)
    refused(npz(tmp_path / "a.npz", (count, 1000, 1000), 100), "at most 50,000,000")


def test_a_member_that_hides_behind_the_name_of_an_array_is_not_read(tmp_path, most_bytes):
    most_bytes(MB)
    np.savez(tmp_path / "a.npz", images=np.full((20, 4, 4), 7, "uint8"))
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "a", zipfile.ZIP_DEFLATED) as file,
        file.open("images", "w") as bomb,
    ):
        for _ in range(100):
            bomb.write(bytes(MB))
    assert peak(lambda: load(tmp_path / "a.npz")) < 12 * MB
    assert (load(tmp_path / "a.npz").images == 7).all()


def test_an_image_of_more_pixels_than_are_safe_is_an_error(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("1", (13_000, 13_000)).save(tmp_path / split / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(tmp_path, "exceeds limit of 89478485 pixels", size=8)


def test_folders_and_results_count_too(tmp_path, save_image, most_bytes):
    for i in range(20):
        save_image(tmp_path / f"{i}.png", np.zeros((8, 8, 3)))
    most_bytes(10**5)
    refused(tmp_path, "images such as .* expected at most 100,000", size=100)
    most_bytes(5 * MB)
    too_large = r"\(5000, 1000, 1000, 3\): got data of .*, expected at most 5"
    refused("fashion-mnist", too_large, size=1000, channels=3)


@pytest.mark.parametrize("dtype", ["u1", "<f4", "<i8"])
def test_no_more_than_twice_the_limit_is_taken(tmp_path, rng, dtype, most_bytes):
    images = rng.integers(0, 256, (4 * MB // 3072 // np.dtype(dtype).itemsize, 32, 32, 3)).astype(dtype)
    limit = images.nbytes + 128  # of the header
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(len(images)))
    np.save(tmp_path / "a.npy", images)
    for name in ("a.npz", "a.npy"):
        for options in ({}, {"size": 31}, {"channels": 1}):
            most_bytes(limit)
            assert peak(lambda: load(tmp_path / name, **options)) < 2 * limit  # noqa: B023
        most_bytes(images.nbytes - 1)
        with pytest.raises(ValueError, match="expected at most"):
            load(tmp_path / name)


def test_the_limit_is_half_of_the_memory_or_of_a_container_s(tmp_path, monkeypatch):
    limit = bounded.most_bytes.__wrapped__
    monkeypatch.setattr(bounded, "_CONTAINERS", ())
    assert limit() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    container = tmp_path / "memory.max"
    monkeypatch.setattr(bounded, "_CONTAINERS", (container, tmp_path / "none"))
    container.write_text("max\n")
    free = limit()
    container.write_text("1000000\n")
    assert (free > MB, limit()) == (True, MB // 2)
