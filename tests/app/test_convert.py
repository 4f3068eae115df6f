"""`flowkit convert`, there and back."""

import keras
import numpy as np
import pytest

import flowkit
from flowkit import convert, zoo
from flowkit.app import main


@pytest.fixture(scope="module")
def flow(perturb):
    return perturb(zoo.glow(levels=2, steps=1, width=8, lu=False, input_shape=(8, 8, 1)))


@pytest.fixture
def weights(flow, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **convert.to_openai(flow))
    return path


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(["convert", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("options", [["--n-bits", "5"], ["--input-shape", "8,8,1"]])
def test_weights_become_a_flow_and_weights_again(flow, weights, tmp_path, capsys, options):
    kept = tmp_path / "flow.keras"
    assert main(["convert", str(weights), "-o", str(kept), *options]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"flow {kept}  (")
    assert output.err == ""
    loaded = keras.saving.load_model(kept)
    assert loaded.built == ("--input-shape" in options)
    assert loaded.dequantize.levels == (32 if "--n-bits" in options else 256)
    for mine, theirs in zip(loaded.bijector.weights, flow.bijector.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)

    again = tmp_path / "again.npz"
    assert main(["convert", str(tmp_path), "-o", str(again)]) == 0  # the folder of a run: its flow.keras
    with np.load(weights) as one, np.load(again) as other:
        assert set(one.files) == set(other.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


def test_log_densities_of_the_original_are_compared(flow, weights, tmp_path, capsys):
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 8, 8, 1)).astype("float32")
    score = flowkit.Flow(flow.bijector).log_prob(rows)
    kept, check = tmp_path / "flow.keras", tmp_path / "check.npz"
    np.savez(check, rows=rows, log_prob=score)
    assert main(["convert", str(weights), "-o", str(kept), "--check", str(check)]) == 0
    assert keras.saving.load_model(kept).event_shape == (8, 8, 1)
    kept.unlink()
    np.savez(check, rows=rows, log_prob=score + np.eye(6)[2])
    error = refused(capsys, weights, "-o", kept, "--check", check)
    assert "in 1 of 6 rows, expected the original's; the largest difference is 1 nats in row 2" in error
    assert not kept.exists()


def test_what_is_wrong_is_said_in_one_line(flow, weights, tmp_path, capsys):
    kept = tmp_path / "flow.keras"
    flow.save(kept)
    assert ", expected a name that ends in .keras" in refused(capsys, weights, "-o", tmp_path / "a.npz")
    assert "ends in .npz" in refused(capsys, kept, "-o", tmp_path / "a.pt")
    assert ", expected a name that ends in .npz" in refused(capsys, kept, "-o", tmp_path / "a.keras")
    wrong = refused(capsys, weights, "-o", tmp_path / "a.keras", "--input-shape", "8x8")
    assert "got '8x8', expected whole numbers such as 32,32,3" in wrong
    assert "got no file" in refused(capsys, tmp_path / "none.npz", "-o", tmp_path / "a.keras")
    np.savez(tmp_path / "other.npz", kernel=np.zeros(3))
    error = refused(capsys, tmp_path / "other.npz", "-o", tmp_path / "a.keras")
    assert ", expected variables such as model/0/0/actnorm_center/b" in error
    assert not list(tmp_path.glob("a.*"))
