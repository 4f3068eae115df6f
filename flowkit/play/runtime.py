"""ONNX Runtime for the browser: three files of the npm package onnxruntime-web, fetched once."""

import os
import shutil
import tarfile
from pathlib import Path

import keras

VERSION = "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def copy_runtime(folder: Path, ort: Path | None = None) -> None:
    """Put the runtime into `folder`: from `ort`, or from the archive, which is downloaded once and kept.

    Raises FileNotFoundError if `ort` lacks one of the files, ConnectionError if there is no archive to be had.
    """
    if ort is None:
        _unpack(_archive(), folder)
        return
    missing = [name for name in FILES if not (ort / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{ort}: expected the files of onnxruntime-web's folder dist, found no {' and no '.join(missing)}"
        )
    for name in FILES:
        shutil.copyfile(ort / name, folder / name)


def _archive():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowkit"
    try:
        cache.mkdir(parents=True, exist_ok=True)  # where it is missing, Keras takes /tmp without a word
        return keras.utils.get_file(
            f"onnxruntime-web-{VERSION}.tgz",
            URL,
            file_hash=SHA256,
            hash_algorithm="sha256",
            cache_dir=str(cache),
            cache_subdir="",
        )
    except Exception as error:  # get_file raises a bare Exception for what urllib says
        raise ConnectionError(
            f"onnxruntime-web {VERSION} (33 MB) could not be downloaded ({error}): with npm install onnxruntime-web"
            f"@{VERSION} elsewhere, give its folder as --ort node_modules/onnxruntime-web/dist"
        ) from error


def _unpack(archive, folder):
    with tarfile.open(archive) as package:
        for name in FILES:
            source = package.extractfile(f"package/dist/{name}")
            if source is None:
                raise ConnectionError(f"{archive}: found no {name} in it")
            (folder / name).write_bytes(source.read())
