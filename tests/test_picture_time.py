"""The rule that a script of the gallery takes at most 20 seconds, held when the site is built."""

import importlib.util
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_engine

DOCS = Path(__file__).parents[1] / "docs"


class Logger:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def warning(self, words, *parts, type):
        self.told.append(words % parts)


@pytest.fixture
def picture_time(monkeypatch):
    pytest.importorskip("sphinx", reason="sphinx comes with the extra docs")
    spec = importlib.util.spec_from_file_location("picture_time", DOCS / "_ext" / "picture_time.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._logger, module.clock = Logger(), [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: module.clock[0])
    monkeypatch.delenv(module.SLOWER, raising=False)
    return module


def draw(picture_time, seconds):
    """A script that takes so long; what was said of it."""
    picture_time._logger.told.clear()
    picture_time.timed({}, None, "before")
    picture_time.timed({}, "pictures/plot_it.py", "before")
    picture_time.clock[0] += seconds
    picture_time.timed({}, "pictures/plot_it.py", "after")
    return picture_time._logger.told


def test_a_slow_script_is_named_unless_the_machine_is_said_to_be_slow(picture_time, monkeypatch):
    assert draw(picture_time, 19.9) == []
    (told,) = draw(picture_time, 21)
    assert told.startswith("plot_it.py took 21 s to draw its picture: expected at most 20 s.")
    monkeypatch.setenv(picture_time.SLOWER, "1.5")
    assert draw(picture_time, 29) == []
    assert len(draw(picture_time, 31)) == 1
    for wrong in ("0", "soon", "inf", "nan"):
        monkeypatch.setenv(picture_time.SLOWER, wrong)
        with pytest.raises(ValueError, match=f"got '{wrong}', expected a number from 1 up"):
            draw(picture_time, 1)


def test_the_site_is_built_with_it_and_with_warnings_as_errors():
    conf = (DOCS / "conf.py").read_text(encoding="utf-8")
    (modules,) = re.findall(r'"reset_modules": \((.*)\)', conf)
    assert '"picture_time.timed"' in modules
    assert '"reset_modules_order": "both"' in conf
    assert "--fail-on-warning" in (DOCS.parent / "Makefile").read_text(encoding="utf-8")
