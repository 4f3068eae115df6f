"""`flowkit train` in two processes: the main one has the files and the word, and a signal to one is heard by both."""

import json

import numpy as np
import pytest

from flowkit.engines import engine
from flowkit.training import read_log

pytestmark = pytest.mark.skipif(engine.name not in ("torch", "jax"), reason="one process on this engine")


@pytest.fixture(scope="module")
def all_words(scenarios):
    """(scenario, number of processes, rank) -> all lines that were said in it."""

    def said(name, count, rank):
        text = (scenarios[count] / f"said-{rank}.txt").read_text().partition(f"> {name}\n")[2]
        return f"\n{text}".partition("\n> ")[0].splitlines()[1:]

    return said


@pytest.fixture(scope="module")
def words(all_words):
    """(scenario, rank) -> what flowkit has said in it, without the engines' own words."""
    own = ("flowkit:", "epoch", "test", "samples")
    return lambda name, rank: [line for line in all_words(name, 2, rank) if line.startswith(own)]


def codes(came_of, name):
    return [int(came_of(name, 2, rank)["code"]) for rank in (0, 1)]


def test_one_process_writes_and_talks(scenarios, came_of, words):
    assert codes(came_of, "trained") == [0, 0]
    said = words("trained", 0)
    assert [line.split()[1] for line in said if line.startswith("epoch")] == ["1/8", "2/8"]
    assert [line for line in said if line.startswith("test bits/dim")]
    assert words("trained", 1) == []
    run = scenarios[2] / "trained"
    assert [row["epoch"] for row in read_log(run / "log.csv")] == [1, 2]
    assert (run / "flow.keras").is_file()
    assert (run / "metrics.json").is_file()


def test_no_file_is_written_by_a_process_that_is_not_the_main_one(scenarios):
    """What each has opened for writing, made, renamed or removed, as Python has told it of itself."""
    main, other = (set((scenarios[2] / f"written-{rank}.txt").read_text().splitlines()) for rank in (0, 1))
    files = (
        "recipe.toml",
        "log.csv",
        "checkpoint.npz",
        "samples/epoch-001.png",
        "flow.keras",
        "metrics.json",
    )
    assert {f"trained/{file}" for file in files} < main
    assert {"terminated/checkpoint.npz", "stored.npz"} < main
    own = {path for path in other if path.endswith("-1.npz")}  # what a scenario notes
    assert "trained-1.npz" in own
    assert other == own


def test_what_asks_a_trained_flow_is_shared_by_both_and_said_by_one(scenarios, came_of, all_words):
    one, main, other = (came_of("commands", *who) for who in ((1, 0), (2, 0), (2, 1)))
    assert "Check the path" in all_words("unfit", 1, 0)[0]
    for name, code in {"sampled": 0, "evaluated": 0, "nowhere": 2, "gone": 2, "unfit": 2}.items():
        assert [int(run[name]) for run in (one, main, other)] == [code] * 3
        (line,), (same,) = all_words(name, 1, 0), all_words(name, 2, 0)
        if name == "gone":  # in the last one alone
            line = line.replace("flowkit: ", "flowkit: process 1 of 2: ")
        assert line.replace("scenarios-by-1", "scenarios-by-2") == same
        assert all_words(name, 2, 1) == []
    drawn = [np.loadtxt(scenarios[count] / "drawn.csv", delimiter=",") for count in (1, 2)]
    assert drawn[0].shape == (11, 2)
    np.testing.assert_allclose(*drawn, rtol=1e-4, atol=1e-5)


def test_rows_are_handed_on_whatever_their_number(came_of):
    for rank in (0, 1):
        came = came_of("pieces", 2, rank)
        np.testing.assert_array_equal(came["given"], np.arange(700) + 0.5)
        assert came["none"].shape == (0,)


def test_both_are_refused_together(scenarios, came_of, words):
    assert codes(came_of, "refused") == [2, 2]
    (line,) = words("refused", 0)
    assert "holds a run already" in line
    assert words("refused", 1) == []


def test_a_sigterm_that_reaches_one_process_and_comes_again_ends_both_with_a_checkpoint(
    scenarios, came_of, words
):
    assert codes(came_of, "terminated") == [143, 143]
    meta = json.loads(str(np.load(scenarios[2] / "terminated" / "checkpoint.npz")["meta"]))
    place = f"step {meta['step']} of epoch {meta['epoch'] + 1}" if meta["step"] else f"epoch {meta['epoch']}"
    (line,) = [line for line in words("terminated", 0) if "--resume" in line]
    assert f"terminated after {place}; " in line
    assert words("terminated", 1) == []
