"""Find presets: folders, those that come with flowkit, and those on Hugging Face's hub."""

import contextlib
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flowkit
from flowkit._shipped import closest, preset_folders, shipped_preset
from flowkit.presets.folder import FILES, PresetError, is_preset, read_preset

SCHEME = "hf://"


def find_preset(preset: str | os.PathLike[str]) -> Path:
    """Return the folder of `preset`: a folder, a name such as "glow/digits", or "hf://user/name", which is downloaded.

    A folder that holds a preset comes before a name that flowkit knows; "./glow/digits" is always a folder.
    "hf://user/name@revision" is that revision; files that were downloaded before are kept.

    Raises PresetError if there is none, or if the hub cannot be reached and nothing of it was downloaded before;
    ConnectionError if the download of a preset that comes with flowkit fails.

    >>> find_preset("glow/digits").name
    'digits'
    """
    name = os.fspath(preset)
    if name.startswith(SCHEME):
        with _hub(name, "downloaded") as (hub, repository, revision):
            return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=FILES))
    folder = os.path.expanduser(name)
    if not is_preset(folder) and (shipped := shipped_preset(name.rstrip("/"))) is not None:
        return shipped
    if os.path.isdir(folder):
        return Path(folder)
    raise PresetError(
        f"preset: got {name}, expected the folder of a preset, hf://user/name, or a name that comes with flowkit; "
        f"{closest(name, preset_folders())}."
    )


def upload_preset(uri: str, folder: str | os.PathLike[str]) -> str:
    """Upload the preset in `folder` to "hf://user/name", made if it is missing; return the address of its page.

    `hf auth login`, or the variable HF_TOKEN, logs you in. Raises PresetError for a folder that is no preset or
    has been changed, and if the hub refuses or cannot be reached.
    """
    preset = read_preset(folder)
    with _hub(uri, "uploaded") as (hub, repository, revision):
        api = hub.HfApi(library_name="flowkit", library_version=flowkit.__version__)
        page = api.create_repo(repository, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            revision=revision,
            folder_path=preset.folder,
            allow_patterns=FILES,
            commit_message="Preset of flowkit",
        )
    return str(page)


@contextlib.contextmanager
def _hub(uri: str, done: str) -> Iterator[tuple[Any, str, str | None]]:
    """Yield (the hub's package, "user/name", revision or None); raise its errors as a PresetError of one sentence."""
    found = re.fullmatch(re.escape(SCHEME) + r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", uri)
    if found is None:
        raise PresetError(f"preset: got {uri!r}, expected hf://user/name or hf://user/name@revision.")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            f"hf:// needs huggingface_hub ({error}). Run pip install 'huggingface_hub>=1'."
        ) from error
    try:
        yield hub, found[1], found[2]
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        if type(error).__name__ == "RepositoryNotFoundError":
            reason = "the hub has none, or only its owner may see it; `hf auth login` logs you in"
        raise PresetError(f"{uri} could not be {done}: {reason}.") from error
