"""The same bytes for the same flow: what depends on the moment or on the memory is taken out of a saved file."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_DATE = "1980-01-01@00:00:00"


def make_reproducible(path):
    """Rewrite the .keras file, or the folder of an unzipped one, at `path`: no dates, shared objects numbered from 1.

    Keras writes when a file was saved, and calls an object that is shared by its address in memory. What is no such
    file, or is not on this machine, is left alone. The file is whole at any moment.
    """
    if os.path.isdir(path):
        for name in _REWRITTEN:
            member = Path(path, name)
            if member.is_file():
                member.write_bytes(_REWRITTEN[name](member.read_bytes()))
    elif os.path.isfile(path) and zipfile.is_zipfile(path):
        path = Path(os.path.realpath(path))  # a link stays one
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
            try:
                with zipfile.ZipFile(path) as given, zipfile.ZipFile(temporary, "w") as written:
                    for member in given.infolist():
                        _copy(member, given, written)
                shutil.copymode(path, temporary.name)
                temporary.close()
                os.replace(temporary.name, path)
            except BaseException:
                os.unlink(temporary.name)
                raise


def _copy(member, given, written):
    plain = zipfile.ZipInfo(member.filename, _EPOCH)
    plain.external_attr, plain.compress_type = member.external_attr, member.compress_type
    plain.file_size = member.file_size  # a large one needs another kind of entry
    with written.open(plain, "w") as target:
        if member.filename in _REWRITTEN:
            target.write(_REWRITTEN[member.filename](given.read(member)))
        else:
            with given.open(member) as source:
                shutil.copyfileobj(source, target, 2**20)


def _without_date(metadata):
    return json.dumps(json.loads(metadata) | {"date_saved": _DATE}).encode()


def _renumbered(config):
    numbers = {}

    def renumber(item):
        if isinstance(item, list):
            return [renumber(inner) for inner in item]
        if not isinstance(item, dict):
            return item
        item = {key: renumber(inner) for key, inner in item.items()}
        if "shared_object_id" in item:
            address = item["shared_object_id"]
            item["shared_object_id"] = numbers.setdefault(address, len(numbers) + 1)
        return item

    return json.dumps(renumber(json.loads(config))).encode()


_REWRITTEN = {"metadata.json": _without_date, "config.json": _renumbered}
