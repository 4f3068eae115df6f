"""Presets on Hugging Face's hub, by their package: `pip install huggingface_hub`."""

import errno
import importlib
import os
import re
from pathlib import Path
from typing import Any

import flowkit
from flowkit.presets.errors import PresetError
from flowkit.presets.folder import FILES, read_preset

SCHEME = "hf://"
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # and not of the network


def download(uri: str) -> Path:
    """Return the folder with the files of "hf://user/name" or "hf://user/name@revision"; existing files are kept.

    Raises PresetError if the hub has no such preset, or cannot be reached and nothing of it was downloaded before.
    """
    repository, revision = _parsed(uri)
    hub = _package()
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=FILES))
    except Exception as error:
        raise _told(error, uri, "downloaded") from error


def upload_preset(uri: str, folder: str | os.PathLike[str]) -> str:
    """Upload the preset in `folder` to "hf://user/name", made if it is missing; return the address of its page.

    `hf auth login`, or the variable HF_TOKEN, says who you are. Raises PresetError for a folder that is no preset or
    has been changed, and if the hub refuses or cannot be reached.
    """
    repository, revision = _parsed(uri)
    preset = read_preset(folder)
    hub = _package()
    try:
        api = hub.HfApi(library_name="flowkit", library_version=flowkit.__version__)
        page = api.create_repo(repository, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            revision=revision,
            folder_path=preset.folder,
            allow_patterns=FILES,
            commit_message="Preset of flowkit",
        )
    except Exception as error:
        raise _told(error, uri, "uploaded") from error
    return str(page)


def _parsed(uri):
    """Return ("user/name", revision or None)."""
    found = re.fullmatch(re.escape(SCHEME) + r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", uri)
    if found is None:
        raise PresetError(f"expected hf://user/name or hf://user/name@revision, received {uri!r}.")
    return found[1], found[2]


def _package() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise ImportError(
            "hf:// expects the package huggingface_hub: pip install 'huggingface_hub>=1'."
        ) from None


def _told(error, uri, done):
    """Return a PresetError with what the hub's package raised, in one sentence."""
    errors = importlib.import_module("huggingface_hub.errors")
    if isinstance(error, errors.RepositoryNotFoundError):
        return PresetError(
            f"{uri}: the hub has none, or lets only its owner see it; `hf auth login` says who you are."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return PresetError(f"{uri}: the hub has no such revision.")
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return PresetError(
            f"{uri} could not be {done}: {error.strerror}: {error.filename or 'on this machine'}."
        )
    if getattr(error, "response", None) is None and _of_the_system(error):
        return PresetError(
            f"{uri} could not be {done}: the hub cannot be reached from here; without a network take a folder."
        )
    first = str(error).strip().split("\n")[0].rstrip(".")
    return PresetError(f"{uri} could not be {done}: {first or type(error).__name__}.")


def _of_the_system(error):
    """Return True if an error began as one of the system, such as a connection that was refused or timed out."""
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__ or error.__context__
    return False
