"""Damaged files of every format: images of the right kind, or one line that names the file."""

import gzip
import io
import random

import numpy as np
import pytest
from PIL import Image

from flowkit.data import load

pytestmark = pytest.mark.one_engine


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(save=np.savez_compressed, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def picture(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
GREY = np.ascontiguousarray(PIXELS[..., 0])
WHOLE = {
    "a.npy": npy(PIXELS),
    "floats.npy": npy(PIXELS.astype("f8")),
    "a.npz": npz(images=PIXELS, labels=np.arange(20)),
    "unpacked.npz": npz(np.savez, images=PIXELS, labels=np.arange(20)),
    "a-idx3-ubyte": idx(GREY),
    "a-idx3-ubyte.gz": gzip.compress(idx(GREY)),
    "a.png": picture(PIXELS[0], "PNG"),
    "a.jpg": picture(PIXELS[0], "JPEG"),
    "a.bmp": picture(PIXELS[0], "BMP"),
    "a.webp": picture(PIXELS[0], "WEBP"),
}


def damaged(raw, chance):
    raw = bytearray(raw)
    for _ in range(chance.randint(1, 3)):
        # Headers and the ends of files say what the rest is.
        at = chance.choice([chance.randrange(len(raw)), chance.randrange(min(len(raw), 100))])
        instead = chance.choice([b"", b"\xff" * 4, bytes(4), chance.randbytes(1), bytes([raw[at] ^ 1])])
        raw[at : at + chance.choice([len(instead), 1, 8])] = instead
    return raw


STAYS = ("a.npy",)  # on the disk, if it may


@pytest.mark.parametrize(
    ("name", "in_memory"), [*((name, True) for name in WHOLE), *((name, False) for name in STAYS)]
)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, name, in_memory, most_bytes):
    most_bytes(10**7)
    chance = random.Random(name)
    folders = (
        [tmp_path]
        if name.endswith(("npy", "npz", "ubyte", "gz"))
        else [tmp_path / "train", tmp_path / "test"]
    )
    for folder in folders:
        folder.mkdir(exist_ok=True)
    source = tmp_path / name if folders == [tmp_path] else tmp_path
    refusals = []
    for case in range(41):
        for folder in folders:
            (folder / name).write_bytes(damaged(WHOLE[name], chance) if case else WHOLE[name])
        try:
            data = load(source, in_memory=in_memory)
            assert len(data.images[:]) == len(data)
        except ValueError as error:
            refusals.append(str(error))
            continue
        assert data.images.dtype == np.uint8
        assert data.images.ndim == 4
    assert all(name in refusal and "expected" in refusal and "\n" not in refusal for refusal in refusals)
    assert 5 < len(refusals) < 41
