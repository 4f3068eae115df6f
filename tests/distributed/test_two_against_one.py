"""Two processes train what one trains: the same weights to rounding, and the same numbers in all of them."""

import json
import shutil

import numpy as np
import pytest

from flowkit import data
from flowkit.engines import engine
from flowkit.training import read_log
from tests.distributed.small_flow import X, flow, go_on

pytestmark = pytest.mark.skipif(
    engine.name not in ("torch", "jax"), reason="one process on this engine, which test_group.py asks"
)


@pytest.mark.parametrize("name", ["stored", "reversible", "labels", "nan"])
def test_the_weights_are_those_of_one_process(came_of, name):
    one, main, other = came_of(name, 1, 0), came_of(name, 2, 0), came_of(name, 2, 1)
    assert np.abs(main["weights"] - one["weights"]).max() < 1e-6
    assert (main["weights"] == other["weights"]).all()
    assert np.abs(one["weights"] - one["first"]).max() > 1e-2  # they have moved
    np.testing.assert_array_equal(main["losses"], other["losses"])  # as callbacks are told
    if name != "nan":  # there half of a batch is bad, where in one process all of it is
        np.testing.assert_allclose(main["losses"], one["losses"], rtol=1e-5)
    # A NaN in one process makes both leave out the step.
    assert int(main["skipped"]) == int(other["skipped"]) == (name == "nan")


def test_stopped_and_resumed_is_the_same_bit_for_bit(came_of):
    for rank in (0, 1):
        assert (came_of("resumed", 2, rank)["weights"] == came_of("stored", 2, rank)["weights"]).all()


def test_a_run_of_one_process_goes_on_with_two(scenarios, came_of):
    one, main, other = came_of("stored", 1, 0), came_of("moved", 2, 0), came_of("moved", 2, 1)
    assert np.abs(main["weights"] - one["weights"]).max() < 1e-6
    assert (main["weights"] == other["weights"]).all()
    np.testing.assert_allclose(main["losses"], one["losses"][len(one["losses"]) // 3 :], rtol=1e-5)
    check_log(scenarios[2] / "moved.csv", scenarios[1] / "resumed.csv")


def test_a_run_of_two_processes_goes_on_with_one(scenarios, came_of, tmp_path):
    for kind in ("npz", "csv"):
        shutil.copy(scenarios[2] / f"handed.{kind}", tmp_path / f"moved.{kind}")
    made = flow()
    made.adapt(np.zeros_like(X) + X[:1])  # which the checkpoint makes up for
    go_on(made, tmp_path / "moved.npz", data.batches(X, batch_size=8), 3)
    weights = np.concatenate([np.asarray(weight, "float64").ravel() for weight in made.get_weights()])
    assert np.abs(weights - came_of("stored", 1, 0)["weights"]).max() < 1e-6
    check_log(tmp_path / "moved.csv", scenarios[1] / "resumed.csv")


def check_log(path, expected):
    """That a log has the rows of another: an epoch each, and the same losses but for rounding."""
    rows, others = read_log(path), read_log(expected)
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in others] == [1, 2, 3]
    for key in ("loss", "nll"):
        np.testing.assert_allclose([row[key] for row in rows], [row[key] for row in others], rtol=1e-5)


def test_one_seed_is_stored_and_rows_get_numbers_of_their_own(came_of):
    main, other = came_of("noise", 2, 0), came_of("noise", 2, 1)
    assert (main["after"] == other["after"]).all()
    assert main["after"][1] > main["before"][1]
    if engine.name == "torch":  # on JAX one program draws for all rows
        assert not (main["drawn"] == other["drawn"]).any()


def test_held_out_rows_of_all_are_scored_and_both_are_told(came_of):
    one, main, other = (came_of("validated", *who)["losses"] for who in ((1, 0), (2, 0), (2, 1)))
    np.testing.assert_array_equal(main, other)
    np.testing.assert_allclose(main, one, rtol=1e-5)


def test_the_command_keeps_the_epoch_and_reports_the_scores_of_one_process(scenarios):
    runs = [scenarios[count] / "trained" for count in (1, 2)]
    one, two = ([row["val_bits_per_dim"] for row in read_log(run / "log.csv")] for run in runs)
    assert len(one) == len(two) == 2  # early stopping ends both
    np.testing.assert_allclose(one, two, rtol=1e-5)
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert one["kept_epoch"] == two["kept_epoch"] == 0  # the weights of the start
    for key in ("validation_bits_per_dim", "test_bits_per_dim", "test_standard_error"):
        assert two[key] == pytest.approx(one[key], rel=1e-5)


def test_who_has_left_is_alone_and_still_knows_whether_it_was_the_main_one(came_of):
    left = [came_of("left", 2, rank) for rank in (0, 1)]
    assert [int(one["rank"]) for one in left] == [0, 0]
    assert [int(one["world"]) for one in left] == [1, 1]
    assert [bool(one["main"]) for one in left] == [True, False]


def test_processes_that_are_started_again_go_on_from_the_checkpoint_bit_for_bit(scenarios, came_of):
    assert [row["epoch"] for row in read_log(scenarios["dead"] / "again.csv")] == [1]
    for rank in (0, 1):
        assert (came_of("again", 2, rank)["weights"] == came_of("stored", 2, rank)["weights"]).all()
        assert len(came_of("again", 2, rank)["losses"]) == len(came_of("moved", 2, rank)["losses"])
