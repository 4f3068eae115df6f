"""Presets on Hugging Face's hub, by their package: `pip install huggingface_hub`."""

import importlib
import os
import re
from pathlib import Path
from typing import Any

import flowkit
from flowkit.presets.errors import PresetError
from flowkit.presets.folder import FILES, read_preset

SCHEME = "hf://"


def download(uri: str) -> Path:
    """Return the folder with the files of "hf://user/name" or "hf://user/name@revision"; existing files are kept.

    Raises PresetError if the hub has no such preset, or cannot be reached and nothing of it was downloaded before.
    """
    repository, revision = _parsed(uri)
    hub = _package()
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=FILES))
    except Exception as error:
        raise _failed(error, uri, "downloaded") from error


def upload_preset(uri: str, folder: str | os.PathLike[str]) -> str:
    """Upload the preset in `folder` to "hf://user/name", made if it is missing; return the address of its page.

    `hf auth login`, or the variable HF_TOKEN, logs you in. Raises PresetError for a folder that is no preset or
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
        raise _failed(error, uri, "uploaded") from error
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
    except ImportError as error:
        raise ImportError(
            f"hf:// expects huggingface_hub ({error}): pip install 'huggingface_hub>=1'."
        ) from error


def _failed(error, uri, done):
    """Return a PresetError with what the hub's package raised, in one sentence."""
    if type(error).__name__ == "RepositoryNotFoundError":
        reason = "the hub has none, or only its owner may see it; `hf auth login` logs you in"
    else:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return PresetError(f"{uri} could not be {done}: {reason}.")
