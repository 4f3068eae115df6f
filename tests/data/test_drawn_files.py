"""Files that Hypothesis draws and damages: each reader returns their content or raises one line, and soon."""

import contextlib
import gzip
import io
import os
import pickle
import re
import shutil
import signal
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import polars
import pytest
from hypothesis import strategies as st
from PIL import Image

import flowkit
from flowkit.convert import read_variables
from flowkit.data import load, load_table
from flowkit.data.image_file import read_image
from flowkit.data.table import read_frame
from flowkit.flow.saving import load_file
from flowkit.presets import find_preset

pytestmark = pytest.mark.one_engine
SETTINGS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
SECONDS, HANGS, MEGABYTES = 2, 60, 200  # seconds of this process; and of the clock, which others share
DIGITS = find_preset("glow/digits")


class Raw(bytes):
    """The bytes of a file, of which a report tells the number alone."""

    def __repr__(self):
        return f"{len(self)} bytes"


class Payload:
    """A pickle that runs code."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a file ran code')",)


PICKLED = pickle.dumps(Payload())


def written(save, *arguments, **options):
    """The bytes that `save(file, ...)` writes."""
    file = io.BytesIO()
    save(file, *arguments, **options)
    return file.getvalue()


def _pixels(draw):
    """Images of few or no channels, also of other types than bytes."""
    shape = (20, *draw(st.sampled_from([(8, 8), (8, 8, 1), (6, 4, 3), (6, 4, 2)])))
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    return pixels.astype(draw(st.sampled_from(["u1", "u1", "<f4", ">f8", "<i8", "?", "c8"])))


def _text(draw):
    """A table as text, with a line of names or without, of numbers, words, dates and missing entries."""
    comma = draw(st.sampled_from(",;\t"))
    words = [
        "1",
        "2.5",
        "-3e2",
        "nan",
        "",
        "word",
        '"a, b"',
        "2026-03-01",
        "2_0",
        " 7 ",
        "inf",
        '"',
        "x" * 200_000,
    ]
    entry = st.sampled_from(words)
    names = draw(st.sampled_from([["a", "b", "c"], ["é", "b b", "3c"], []]))
    rows = [names] * bool(names) + draw(st.lists(st.lists(entry, min_size=3, max_size=3), max_size=8))
    return "".join(comma.join(row) + draw(st.sampled_from(["\n", "\r\n"])) for row in rows).encode()


def _npy(draw):
    """An array: images, numbers, words, a pickle, or a header of more than there is."""
    if draw(st.booleans()):
        return written(np.save, _pixels(draw))
    arrays = [
        np.random.default_rng(0).normal(size=(30, 3)),
        np.array("a"),
        np.array([Payload()], dtype=object),
    ]
    odd = [(2**32, 2**32), (2**62, 2**62, 2**62), (0, 10**30), (10**30, 0), (-1, 4, 4), (1,) * 70, (4, 4, 4)]
    if draw(st.booleans()):
        return written(np.save, draw(st.sampled_from(arrays)))
    header = {"descr": draw(st.sampled_from(["|u1", "<f8", "|V0"])), "fortran_order": False}
    return written(
        np.lib.format.write_array_header_1_0, header | {"shape": draw(st.sampled_from(odd))}
    ) + bytes(64)


def _npz(draw):
    names = draw(st.sampled_from([["images", "labels"], ["x_train", "x_test"], ["a"], ["a", "b"], []]))
    with zipfile.ZipFile(file := io.BytesIO(), "w", draw(st.sampled_from([0, 8])), compresslevel=1) as packed:
        for name in names:
            labels = name == "labels" and draw(st.booleans())
            packed.writestr(f"{name}.npy", written(np.save, np.arange(20)) if labels else _npy(draw))
    return file.getvalue()


def _idx(draw):
    array = np.random.default_rng(0).integers(0, 256, (20, 4, 4)).astype("u1")
    raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    return gzip.compress(raw) if draw(st.booleans()) else raw


def _picture(kind):
    def make(draw):
        mode = draw(st.sampled_from(["RGB", "L", "1", "P", "RGBA", "LA", "I;16", "CMYK"]))
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype="u1")).convert(
            "RGB"
        )
        with contextlib.suppress(ValueError):
            image = image.convert(mode)
        with contextlib.suppress(OSError):
            return written(image.save, kind)
        return written(image.convert("RGB").save, kind)

    return make


def _parquet(draw):
    pictures = {"image": [{"bytes": _picture("PNG")(draw)}] * 20, "label": range(20)}
    table = {"a": [1.5, None] * 10, "b": ["x", "y"] * 10, "c": [b"z"] * 20, "d": [[1]] * 20}
    columns = draw(st.lists(st.sampled_from(sorted(table)), unique=True))
    chosen = draw(st.sampled_from([pictures, {name: table[name] for name in columns}]))
    return written(polars.DataFrame(chosen).write_parquet)


def _keras():
    with zipfile.ZipFile(file := io.BytesIO(), "w") as packed:
        for name in ("config.json", "model.weights.h5"):
            packed.write(DIGITS / name, name)
    return file.getvalue()


def _saved_by_torch(draw):
    torch = pytest.importorskip("torch")
    contents = [
        {"a": torch.ones(3)},
        [torch.ones(1)],
        {"a": 1},
        {1: torch.ones(1)},
        Payload(),
        torch.nn.Linear(2, 2),
    ]
    return written(lambda file: torch.save(draw(st.sampled_from(contents)), file))


KINDS = {
    **dict.fromkeys([".csv", ".tsv"], _text),
    ".npy": _npy,
    ".npz": _npz,
    "-ubyte": _idx,
    ".gz": _idx,
    ".png": _picture("PNG"),
    ".jpg": _picture("JPEG"),
    ".bmp": _picture("BMP"),
    ".webp": _picture("WEBP"),
    ".parquet": _parquet,
    ".pt": _saved_by_torch,
    ".pkl": lambda draw: draw(st.just(PICKLED)),
    ".bin": lambda draw: bytes(3073) * draw(st.integers(0, 4)),
    ".keras": lambda draw: draw(st.just(_keras())),
}
HEADERS = [
    b"\x93NUMPY",
    b"PK\3\4",
    b"PAR1",
    b"\0\0\x08\3",
    b"\x1f\x8b",
    b"\x89PNG\r\n",
    b"\x89HDF\r\n",
    b"\xff\xfe",
]


@st.composite
def damage(draw):
    """A function of the bytes of a file that changes them in one place, which is often in the header, or all."""
    share, longest = draw(st.floats(0, 1)), draw(st.sampled_from([100, 10**9]))
    more, header = draw(st.binary(min_size=1, max_size=8)), draw(st.sampled_from(HEADERS))

    def at(raw):
        return int(share * min(len(raw), longest))

    ways = [
        lambda raw: raw[: at(raw)],
        lambda raw: raw[at(raw) :],
        lambda raw: raw[: at(raw)] + more + raw[at(raw) + len(more) :],
        lambda raw: raw[: at(raw)] + more + raw[at(raw) :],
        lambda raw: raw + bytes(int(share * 10**5)),
        lambda raw: header + raw[len(header) :],
        lambda raw: b"",
        lambda raw: bytes(len(raw)),
    ]
    return draw(st.sampled_from(ways))


class Hung(BaseException):
    """A reader has taken too long."""


def _stop(*_):
    raise Hung


def _peak():
    """The most memory that this process has held since it was last asked, and what it holds now, in megabytes."""
    try:
        told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # another system than Linux
        return [0, 0]
    return [int(told[key].split()[0]) / 1000 for key in ("VmHWM", "VmRSS")]


def judged(read, path):
    """Read a file: its content, or an error of flowkit's own, which names the file in one line, and soon."""
    before, refused = _peak()[1], None
    previous, start = signal.signal(signal.SIGALRM, _stop), time.process_time()
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        with warnings.catch_warnings(record=True):
            read(path)
    except (ValueError, FileNotFoundError) as error:
        refused = error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.process_time() - start < SECONDS
    assert _peak()[0] - before < MEGABYTES
    if refused is not None:
        raised, said = traceback.extract_tb(refused.__traceback__)[-1].filename, str(refused)
        assert Path(raised).is_relative_to(Path(flowkit.__file__).parent), repr(refused)
        assert str(path.parent) in said
        assert re.search("got|cannot be loaded", said), said
        assert "\n" not in said
        assert len(said) < 700


def _images(path, **options):
    found = load(path, **options)
    assert len(found.images[:]) == len(found)
    assert (found.images.dtype, found.images.ndim) == (np.uint8, 4)


def _pictures(path):
    folder = path.with_name("pictures")
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / split / path.name)
    _images(folder)


def _cifar(path):
    for name in ("test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))):
        shutil.copy(path, path.with_name(name))
    _images(path.parent)


def _table(path):
    values = load_table(path, cut=False).values
    assert (values.dtype, values.ndim) == (np.float64, 2)
    assert np.isfinite(values).all()


READERS = {
    "load": _images,
    "load, in_memory=False": lambda path: _images(path, in_memory=False),
    "load, size=4": lambda path: _images(path, size=4, channels=1),
    "load, as a folder": _pictures,
    "load, as CIFAR-10": _cifar,
    "load_table": _table,
    "read_frame": read_frame,
    "read_image": read_image,
    "read_variables": read_variables,
    "load_file": load_file,
}


@st.composite
def files(draw):
    """The suffix of a file, which may be that of another kind, and its bytes, damaged or not."""
    suffix = draw(st.sampled_from(sorted(KINDS)))
    raw = KINDS[suffix](draw)
    for function in draw(st.lists(damage(), max_size=2)):
        raw = function(raw)
    return draw(st.sampled_from([suffix] * len(KINDS) + sorted(KINDS))), Raw(raw)


@hypothesis.settings(**SETTINGS, max_examples=600)
@hypothesis.given(files(), st.sampled_from(sorted(READERS)))
@hypothesis.example((".npy", Raw(_keras())), "load")  # an archive, of which NumPy makes no array
@hypothesis.example((".pt", Raw(PICKLED)), "read_variables")
@hypothesis.example((".npz", Raw(written(np.savez, images=np.array([Payload()])))), "load")
@hypothesis.example((".csv", Raw(b'1,1,"\n1,",1\n')), "load_table")  # a line break in the first record
def test_a_drawn_file_is_read_or_refused_in_one_line(tmp_path_factory, file, reader):
    path = tmp_path_factory.mktemp("drawn") / f"a{file[0]}"
    path.write_bytes(file[1])
    try:
        judged(READERS[reader], path)
    finally:
        shutil.rmtree(path.parent)


def _place(kind, path):
    """Put something else than a file at a path."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        path.touch()
        os.truncate(path, 10**13)
    elif kind != "nothing":
        path.symlink_to("/dev/zero" if kind == "device" else path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "link to itself", "huge"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path, kind):
    for suffix in KINDS:
        path = tmp_path / suffix / f"a{suffix}"
        path.parent.mkdir()
        _place(kind, path)
        for reader, read in READERS.items():
            judged(_images if "as" in reader else read, path)
