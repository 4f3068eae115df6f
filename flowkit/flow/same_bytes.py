"""The same bytes for the same flow: what depends on the moment or on the memory is taken out of a saved file."""

import io
import json
import os
import shutil
import zipfile

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_DATE = "1980-01-01@00:00:00"


def put_in_place(written, path, zipped):
    """Move the .keras file `written` to `path`, or what is in it into that folder, in place of what is there.

    No dates, and shared objects numbered from 1: Keras writes when a file was saved, and calls an object that is shared
    by its address in memory.
    """
    beside = written.with_name("put")
    with zipfile.ZipFile(written) as given:
        members = [member for member in given.infolist() if not member.is_dir()]
        if zipped:
            with zipfile.ZipFile(beside, "w") as target:
                for member in members:
                    _copy(member, given, target)
            shutil.copymode(path if path.is_file() else written, beside)
            os.replace(beside, path)
            return
        for member in members:
            file = beside / member.filename
            file.parent.mkdir(parents=True, exist_ok=True)
            with given.open(member) as source, file.open("wb") as target:
                shutil.copyfileobj(_plain(member, source), target, 2**20)
    for member in members:
        (path / member.filename).parent.mkdir(parents=True, exist_ok=True)
        os.replace(beside / member.filename, path / member.filename)


def _copy(member, given, written):
    plain = zipfile.ZipInfo(member.filename, _EPOCH)
    plain.external_attr, plain.compress_type = member.external_attr, member.compress_type
    plain.file_size = member.file_size  # a large one needs another kind of entry
    with given.open(member) as source, written.open(plain, "w") as target:
        shutil.copyfileobj(_plain(member, source), target, 2**20)


def _plain(member, source):
    """The content of a member, without what depends on the moment."""
    rewrite = _REWRITTEN.get(member.filename)
    return source if rewrite is None else io.BytesIO(rewrite(source.read()))


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
