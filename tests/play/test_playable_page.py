"""The page of `flowkit play` on the site: its folder is complete, and where it cannot be, the page says so."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowkit.flow import export
from flowkit.play import folder

pytestmark = pytest.mark.one_engine

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def playable():
    spec = importlib.util.spec_from_file_location("playable", DOCS / "_ext" / "playable.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def app(tmp_path):
    return SimpleNamespace(outdir=str(tmp_path))


@pytest.mark.long
def test_the_site_has_all_that_the_page_asks_for(playable, app, tmp_path, monkeypatch):
    try:
        export.require("onnx")
    except ImportError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(
        folder, "copy_runtime", lambda to: [(to / name).write_text("runtime") for name in folder.RUNTIME]
    )
    page = [(DOCS / "play.md").read_text(encoding="utf-8")]
    playable.expand(app, "play", page)
    made = tmp_path / "playable" / "glow-digits"
    assert 'src="playable/glow-digits/index.html"' in page[0]
    assert "{playable}" not in page[0]
    page_files = Path(folder.__file__).with_name("page").iterdir()
    assert {file.name for file in made.iterdir()} == {
        *folder._OWN,
        *folder.RUNTIME,
        *(file.name for file in page_files if not file.name.startswith("vectors.")),
        *("images.png", "directions.bin", "noise.bin"),
    }
    assert all(file.stat().st_size for file in made.iterdir())


def test_without_the_runtime_the_page_says_so(playable, app, tmp_path, monkeypatch, capsys):
    def offline(to):
        raise ConnectionError("no network")

    monkeypatch.setattr(folder, "copy_runtime", offline)
    page = ["```{playable} glow/digits\n```"]
    playable.expand(app, "deeper/page", page)
    assert "could not download onnxruntime-web" in page[0]
    assert "iframe" not in page[0]
    assert capsys.readouterr().err == "deeper/page: no page of glow/digits: no network\n"
    assert not list(tmp_path.iterdir())


def test_a_command_that_fails_ends_the_build(playable, app, monkeypatch):
    monkeypatch.setattr(folder, "copy_runtime", lambda to: None)
    monkeypatch.setattr(playable.sys, "executable", "false")
    with pytest.raises(RuntimeError, match="flowkit play glow/digits failed"):
        playable.expand(app, "page", ["```{playable} glow/digits\n```"])
