"""Write the folder of a page: two graphs, their description, some images or rows, and the page itself.

ONNX Runtime for the browser is three files of the npm package onnxruntime-web, fetched once.
"""

import hashlib
import itertools
import json
import math
import shutil
import tarfile
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

from flowkit._shipped import cache_folder, download
from flowkit.bijectors.levels import level_sizes
from flowkit.contract import Tensor
from flowkit.contract.noise import Need
from flowkit.flow import Flow
from flowkit.flow.export import export
from flowkit.flow.model import locked
from flowkit.flow.rows import counted
from flowkit.flow.sampling import latents
from flowkit.tables import TableFlow
from flowkit.training.pictures import image_grid, save_png

IMAGES, COLUMNS = 24, 6  # from which one picks, and in a row of their file
_OWN = ("decode.onnx", "encode.onnx", "flow.js", "index.html", "meta.json", "style.css")
_IMAGES_PAGE = (
    *("index.html", "style.css", "app.js", "flow.js"),
    *("gif.js", "pad.js", "pictures.js", "state.js"),
)
_VECTORS_PAGE = ("vectors.html", "style.css", "vectors.js", "flow.js", "pictures.js")
LEARNED = 1000  # images that directions are learned from, and that log p is compared with
SHOWN = 1000  # rows of a table, and draws

VERSION = "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def write_page(
    flow: Flow,
    folder: str | Path,
    *,
    train: Tensor,
    test: Tensor,
    name: str = "a flow",
    temperature: float = 0.7,
    ort: str | Path | None = None,
) -> Path:
    """Write a page that runs `flow` in the browser, for any static server; return the folder.

    - `train`, `test`: `flowkit.data.Dataset`s. The page learns a direction for each class and one for brightness from
      the first. It shows images of the second, and compares log p on screen with theirs, unless log p is an estimate
      with noise, as that of a continuous flow. The page of a class-conditional flow has a choice of classes; its
      latents hold no class, so brightness is its one direction.
      For a flow of vectors `flowkit.data.Table`s: the page shows draws over rows of the second, two columns at a time.
    - `temperature`: of new images.
    - `ort`: the folder dist of npm's onnxruntime-web; None downloads a fixed version once (33 MB).

    The page requests nothing from other hosts. Raises ValueError for a flow that is neither one of stored images, of 1
    or 3 channels, nor one of vectors of real numbers, or that needs a context other than a class of images;
    ContractError if a graph differs from the flow. Nothing is written then.
    """
    folder = Path(folder)
    of_vectors = len(flow.event_shape or ()) == 1 and flow.dequantize is None
    if of_vectors:
        _refuse_vectors(flow, test)
    else:
        _refuse_images(flow)
    if folder.is_dir() and any(folder.iterdir()) and not all((folder / own).exists() for own in _OWN):
        raise ValueError(f"{folder}: got other files, expected an empty folder, or one of an earlier page.")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "page"  # which others may read, unlike a temporary folder
        made.mkdir()
        if of_vectors:
            files, meta = _VECTORS_PAGE, _write_vectors(flow, made, test)
        else:
            files, meta = _IMAGES_PAGE, _write_images(flow, made, train, test)
        meta = {"name": name, "temperature": temperature, **meta}
        (made / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
        page = resources.files("flowkit.play").joinpath("page")
        for file in files:
            target = "index.html" if file.endswith(".html") else file
            (made / target).write_bytes(page.joinpath(file).read_bytes())
        copy_runtime(made, None if ort is None else Path(ort))
        shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def _refuse_images(flow):
    """Raise ValueError for a flow whose events or context the page cannot show."""
    event = flow.event_shape
    stored = getattr(flow.dequantize, "stored_levels", None) is not None
    if not stored or event is None or len(event) != 3 or event[-1] not in (1, 3):
        raise ValueError(
            f"play: got a flow of events {event} with {flow.dequantize}, expected one of images of 1 or 3 channels "
            "with a flowkit.data.Dequantize, or one of vectors without."
        )
    if flow.context_kind == "required" and flow.num_classes is None:
        raise ValueError("play: got a flow that reads a context, expected one that reads at most a class.")


def _refuse_vectors(flow, test):
    """Raise ValueError for a flow of vectors that the page cannot show, and for data that are no table."""
    if isinstance(flow, TableFlow):
        raise ValueError(
            "play: got a flow of a mixed table, expected one of real columns. Draw pairs of its columns with "
            "flow.plot()."
        )
    if flow.context_kind == "required":
        raise ValueError("play: got a flow of vectors that reads a context, expected one that reads none.")
    size, shape = flow.event_shape[0], getattr(getattr(test, "values", None), "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != size or not shape[0]:
        got = type(test).__name__ if shape is None else f"a table of shape {tuple(shape)}"
        raise ValueError(f"play's test: got {got}, expected a table of {size} columns, as the flow has.")


def _write_graphs(flow, folder, classes, x, context):
    """Write decode.onnx and encode.onnx, and return what meta.json says of each flow.

    The second graph also returns log p, and `x` are some data to compare it with, unless log p is an estimate with
    noise. `classes` are the contexts that the graphs are to read, or None.
    """
    sums = {}
    scores = flow.bijector.spec.likelihood != "estimated"
    for graph, what in (("decode", "decode"), ("encode", "encode_and_log_prob" if scores else "encode")):
        path = folder / f"{graph}.onnx"
        # The page adds noise of its own to the pixels.
        locked(export)(flow, path, what, "onnx", classes, continuous=True)
        sums[graph] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "event": list(flow.event_shape),
        "latents": list(flow.bijector.compute_output_shape((None, *flow.event_shape))[1:]),
        "exact": flow.exact,
        "log_prob": np.sort(flow.log_prob(x, context)).round(2).tolist() if scores else [],
        "sha256": sums,
    }


def _write_images(flow, folder, train, test):
    """Write the graphs, images, directions and noise; return the content of meta.json."""
    picked = _some(test, IMAGES)
    labels = _labels(flow, test, picked)
    classes = None if labels is None else np.arange(flow.num_classes, dtype="int32")
    scored = slice(LEARNED)
    meta = _write_graphs(flow, folder, classes, test.images[scored], _labels(flow, test, scored))
    stored = flow.dequantize.stored_levels
    shown = np.round(test.images[picked] * (255 / (stored - 1))).astype("uint8")
    save_png(folder / "images.png", image_grid(shown, COLUMNS, padding=0))  # from which the page cuts them
    attributes, directions = _directions(flow, train)
    directions.astype("<f4").tofile(folder / "directions.bin")
    # That of the first row of any call: so the page's log p of an image is flow.log_prob's of it alone.
    noise = counted((Need("uniform", math.prod(flow.event_shape)),), 0, 1)
    np.asarray(noise, "<f4").tofile(folder / "noise.bin")
    titles = [] if test.labels is None else [_class_name(test, label) for label in test.labels[picked]]
    sizes = [math.prod(meta["latents"])]  # of a flow without levels
    if flow.bijector.split_levels()[1] is not None:
        sizes = [int(size) for size in level_sizes(flow.bijector, "the page")]
    return meta | {
        "level_sizes": sizes,
        "levels": flow.dequantize.levels,
        "stored_levels": stored,
        "step": flow.dequantize.step,
        "images": len(shown),
        "columns": COLUMNS,
        "labels": titles,
        "classes": [] if labels is None else [_class_name(test, label) for label in range(flow.num_classes)],
        "shown_labels": [] if labels is None else labels.tolist(),
        "attributes": attributes,
    }


def _write_vectors(flow, folder, test):
    """Write the graphs, the rows and latents that are shown; return the content of meta.json."""
    picked = np.random.default_rng(0).permutation(len(test.values))[:SHOWN]
    rows = test.values[picked].astype("float32")
    meta = _write_graphs(flow, folder, None, rows, None)
    drawn = latents(flow, SHOWN, None, 1.0, 0)
    rows.astype("<f4").tofile(folder / "rows.bin")
    drawn.astype("<f4").tofile(folder / "latents.bin")
    names = test.names or [f"column {number + 1}" for number in range(rows.shape[1])]
    columns = [str(name) for name in names]
    return meta | {"columns": columns, "rows": len(rows), "draws": len(drawn), "classes": []}


def _labels(flow, dataset, some):
    """Return the classes of some images for a class-conditional flow, None for another flow."""
    if flow.context_kind != "required":
        return None
    return dataset.labels[some].astype("int32")


def _some(dataset, count):
    """Return the places of `count` images, all classes in turn if there are labels."""
    if dataset.labels is None:
        return np.arange(min(count, len(dataset)))
    rows = [np.flatnonzero(dataset.labels == label) for label in np.unique(dataset.labels)]
    turns = [row for turn in itertools.zip_longest(*rows) for row in turn if row is not None]
    return np.array(turns[:count])


def _directions(flow, dataset):
    """Return (names, latents): differences of mean latents, for brightness and for each class against all others.

    Latents that were found given the class should not hold it: of those brightness is left.
    """
    some = np.random.default_rng(0).permutation(len(dataset))[:LEARNED]
    images = dataset.images[some]
    given = _labels(flow, dataset, some)
    z = flow.encode(images, given, check=None).reshape(len(images), -1)
    light = images.reshape(len(images), -1).mean(axis=1)
    groups = {"brightness": light > np.median(light)}
    if given is None and dataset.labels is not None and len(np.unique(dataset.labels)) <= 12:
        labels = dataset.labels[some]
        groups |= {_class_name(dataset, label): labels == label for label in np.unique(labels)}
    groups = {name: rows for name, rows in groups.items() if rows.any() and not rows.all()}
    means = [z[rows].mean(axis=0) - z[~rows].mean(axis=0) for rows in groups.values()]
    return list(groups), np.stack(means) if means else np.zeros((0, z.shape[1]))


def _class_name(dataset, label):
    names = dataset.classes or ()
    return names[label] if label < len(names) else str(label)


def copy_runtime(folder: Path, ort: Path | None = None) -> None:
    """Put the runtime into `folder`: from `ort`, or from the archive, which is downloaded once and kept.

    Raises FileNotFoundError if `ort` lacks one of the files, ConnectionError if the download fails.
    """
    if ort is None:
        archive = cache_folder() / f"onnxruntime-web-{VERSION}.tgz"
        download(URL, archive, SHA256)
        with tarfile.open(archive) as package:
            for name in RUNTIME:
                source = package.extractfile(f"package/dist/{name}")
                (folder / name).write_bytes(source.read())  # type: ignore[union-attr]
        return
    missing = [name for name in RUNTIME if not (ort / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{ort}: got no {' and no '.join(missing)}, expected the files of onnxruntime-web's folder dist"
        )
    for name in RUNTIME:
        shutil.copyfile(ort / name, folder / name)
