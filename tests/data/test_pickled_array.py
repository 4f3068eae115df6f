"""Pickles of CIFAR-10: no opcode reaches NumPy's memory, whatever the file says."""

import io
import pickle
import random
import struct
import tracemalloc

import numpy as np
import pytest

from flowkit.data.cifar10 import load_cifar10
from flowkit.data.inert_pickle import MOST_STEPS, ForbiddenError, read_pickle
from flowkit.data.pickled_array import PickledArray, stand_ins

pytestmark = pytest.mark.one_engine

PLAIN = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
SUBARRAY = b"(K\x03U\x01|cnumpy\ndtype\nU\x02u1\x85RM\x00\x0c\x85\x86NNK\x01K\x01K\x00tb"


def batch(data, labels=b"]K\x03a", dtype=b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R" + PLAIN, more=b""):
    """A batch in protocol 5 whose array is made of a buffer; `more` are opcodes that follow it."""
    buffer = b"\x96" + struct.pack("<Q", len(data)) + data
    array = b"cnumpy._core.numeric\n_frombuffer\n(" + buffer + dtype + b"K\x01M\x00\x0c\x86X\x01\0\0\0CtR"
    return b"\x80\x05}(U\x04data" + array + more + b"U\x06labels" + labels + b"u."


def read(path, raw):
    path.write_bytes(raw)
    return load_cifar10(path.parent, "test")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "test_batch"


def test_the_hand_written_batch_is_one(path, rng):
    data = rng.integers(0, 256, 3072).astype(np.uint8)
    images, labels = read(path, batch(data.tobytes()))
    assert np.array_equal(images[0].transpose(2, 0, 1).ravel(), data)
    assert labels.tolist() == [3]


@pytest.mark.parametrize(
    "raw",
    [
        batch(b"x", dtype=b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R" + SUBARRAY),
        batch(b"x"),
        batch(bytes(3072), more=b"(K\x00K\x01u"),
        batch(bytes(3072), more=b"(K\x00K\x01e"),
        batch(bytes(3072), more=b"}b"),
        batch(bytes(3072), labels=b"cnumpy\nndarray\n)\x81"),
        batch(bytes(3072), labels=b"cnumpy\nndarray\nM\xe8\x03\x85R"),
        batch(bytes(3072), labels=b"]q\x01h\x01a"),
    ],
    ids=["subarray", "one byte", "set item", "append", "state", "new object", "call", "list in itself"],
)
def test_memory_beyond_the_buffer_is_out_of_reach(path, raw):
    with pytest.raises(ValueError, match=r"test_batch: expected .* received") as caught:
        read(path, raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [
        (3, "|", ("u1", (3072,)), None, None, 3072, 1, 0),
        (3, "|", None, ("a",), {"a": ("u1", 9)}, -1, -1, 0),
        (3, "|", None, None, None, 3072, -1, 0),
        (3, "|", None, None, None, -1, -1, 63),
        (3, "?", None, None, None, -1, -1, 0),
        (3, "|", None, None, None, -1, -1, 0, {}),
        {"__dict__": 1},
    ],
)
def test_a_dtype_has_one_state(state):
    with pytest.raises(ForbiddenError, match="more than a byte order"):
        stand_ins(0)["numpy.dtype"]("u1").set_state(state)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("code", ["<i2", ">i2", ">f8", "b1", "u1"])
def test_arrays_of_numbers_come_back(protocol, code):
    for order in "CF":
        array = np.array(np.arange(24).reshape(2, 3, 4) % 5, code, order=order)
        raw = pickle.dumps(array, protocol)
        found = read_pickle(io.BytesIO(raw), stand_ins(len(raw)))
        assert isinstance(found, PickledArray)
        found = found.to_numpy()
        assert np.array_equal(found, array)
        assert found.dtype == array.dtype
        assert found.flags.owndata


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02" + b"]" * (MOST_STEPS + 1) + b".",
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
        b"\x80\x02" + b")" + b"q\x00h\x00\x86" * 100 + b"q\x01}h\x01K\x01s.",
    ],
    ids=["too many lists", "a memo of 34 GB", "a string of 1 TB", "a name that takes for ever"],
)
def test_a_small_pickle_takes_little(path, raw):
    with pytest.raises(ValueError, match="test_batch: expected"):
        read(path, raw)


def test_one_text_is_not_encoded_again_and_again(path):
    text = b"X" + struct.pack("<I", 10**6) + b"x" * 10**6
    path.write_bytes(b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01]" + b"h\x00h\x01\x85R" * 100 + b".")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more bytes than the file has"):
            load_cifar10(path.parent, "test")
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 10 * 10**6


def test_300_damaged_pickles_give_an_error_or_their_own_bytes(path, rng):
    data = rng.integers(0, 256, (2, 3072)).astype(np.uint8)
    whole = {b"data": data, b"labels": [6, 9], b"filenames": [b"a.png", b"b.png"]}
    sources = [pickle.dumps(whole, protocol) for protocol in range(2, 6)]
    sources.append(batch(data[0].tobytes()))
    chance = random.Random(0)
    read_well, refusals = 0, []
    for case in range(300):
        raw = bytearray(sources[case % len(sources)])
        start = raw.find(data[0, :2].tobytes()) if case % len(sources) else len(raw) // 2
        for _ in range(chance.randint(1, 2)):
            # Most of what is worth damaging lies around the pixels.
            before, after = range(max(start, 1)), range(len(raw) - 60, len(raw))
            spot = chance.choice(chance.choice([before, after, range(len(raw))]))
            length = chance.randint(0, 2)
            raw[spot : spot + length] = chance.randbytes(chance.choice([length, length, 3]))
        try:
            images, labels = read(path, raw)
        except ValueError as error:
            refusals.append(str(error))
            continue
        pixels = images.transpose(0, 3, 1, 2).tobytes()
        assert pixels in raw or pixels.decode("latin-1").encode() in raw
        assert len(labels) == len(images)
        read_well += 1
    assert all("test_batch" in refusal and "\n" not in refusal for refusal in refusals)
    assert min(read_well, len(refusals)) > 20
