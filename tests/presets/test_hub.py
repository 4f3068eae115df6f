"""To the hub and back, on a hub of our own; without a network, one sentence."""

import json
import os
import subprocess
import sys

import keras
import pytest
from hub_stub import hub

from flowkit import PresetError, presets, upload_preset

SCRIPT = """
import json, sys
sys.modules["tensorflow"] = None  # as if it were not installed
import flowkit
folder = sys.argv[1]
told = {"page": flowkit.upload_preset("hf://me/digits", folder)}
flow = flowkit.Flow.from_preset("hf://me/digits")
told["shape"] = flow.sample(2, seed=0).shape
from flowkit.app import main
told["sampled"] = main(["sample", "hf://me/digits", "-n", "4", "-o", sys.argv[2]])
for uri in ("hf://me/nothing",):
    try:
        flowkit.Flow.from_preset(uri)
    except flowkit.PresetError as error:
        told["missing"] = str(error)
print(json.dumps(told))
"""

OFFLINE = """
import flowkit.presets as presets
for ask in (lambda: presets.find_preset("hf://me/digits"), lambda: presets.upload_preset("hf://me/digits", %r)):
    try:
        ask()
    except presets.PresetError as error:
        print(error)
"""


def answer(script, *arguments, **environment):
    here = {
        **os.environ,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_none",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=here, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="it is the engine here")
@pytest.mark.long
def test_a_preset_goes_to_the_hub_and_comes_back_without_tensorflow(tmp_path):
    pytest.importorskip("huggingface_hub")
    folder, home = presets.find_preset("glow/digits"), str(tmp_path / "home")
    with hub() as (address, repositories):
        told = json.loads(
            answer(
                SCRIPT, str(folder), str(tmp_path / "grid.png"), HF_ENDPOINT=address, HF_HOME=home
            ).splitlines()[-1]
        )
        assert told["page"] == f"{address}/me/digits"
        assert repositories["me/digits"] == {
            path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()
        }
    assert told["shape"] == [2, 8, 8, 1]
    assert told["sampled"] == 0
    assert "the hub has none" in told["missing"]
    # What was downloaded is there without a network.
    script = "import flowkit.presets as presets; print(presets.read_preset(presets.find_preset('hf://me/digits')).folder)"
    assert answer(script, HF_ENDPOINT=address, HF_HOME=home).startswith(home)


@pytest.mark.long
def test_without_a_network_one_sentence_says_so(tmp_path):
    pytest.importorskip("huggingface_hub")
    script = OFFLINE % str(presets.find_preset("glow/digits"))
    for offline in ("0", "1"):
        said = answer(script, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path), HF_HUB_OFFLINE=offline)
        down, up = said.splitlines()
        for line, done in ((down, "downloaded"), (up, "uploaded")):
            assert line.startswith(f"hf://me/digits could not be {done}: ")


def test_names_that_are_none_and_a_missing_package_are_told(monkeypatch):
    folder = presets.find_preset("glow/digits")
    for uri in ("hf://digits", "hf://me/you/digits", "https://me/digits"):
        with pytest.raises(PresetError, match=f"preset: got '{uri}', expected hf://user/name"):
            upload_preset(uri, folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install 'huggingface_hub>=1'"):
        upload_preset("hf://me/digits", folder)
