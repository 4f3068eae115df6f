"""ONNX Runtime for the browser: three files of the npm package onnxruntime-web, fetched once."""

import shutil
import tarfile
from pathlib import Path

from flowkit._shipped import cache_folder, download

VERSION = "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def copy_runtime(folder: Path, ort: Path | None = None) -> None:
    """Put the runtime into `folder`: from `ort`, or from the archive, which is downloaded once and kept.

    Raises FileNotFoundError if `ort` lacks one of the files, ConnectionError if the download fails.
    """
    if ort is None:
        archive = cache_folder() / f"onnxruntime-web-{VERSION}.tgz"
        download(URL, archive, SHA256)
        with tarfile.open(archive) as package:
            for name in FILES:
                source = package.extractfile(f"package/dist/{name}")
                (folder / name).write_bytes(source.read())  # type: ignore[union-attr]
        return
    missing = [name for name in FILES if not (ort / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{ort}: expected the files of onnxruntime-web's folder dist, found no {' and no '.join(missing)}"
        )
    for name in FILES:
        shutil.copyfile(ort / name, folder / name)
