"""What a file keeps of an objective, and what of one that no file can hold."""

import json
import zipfile

import keras
import numpy as np
import pytest
from small_objectives import Layered, Squares, X, around_three, built, fit, standard_normal

from flowkit.objectives import MaximumLikelihood, ReverseKL


def reread(flow, path, **options):
    flow.save(path)
    return keras.saving.load_model(path, **options)


def test_a_registered_density_is_restored_and_trained_on(tmp_path):
    flow = built()
    flow.compile(
        keras.optimizers.Adam(0.1), loss=ReverseKL(around_three, stick_the_landing=False, anneal=0.5)
    )
    fit(flow, steps_per_epoch=2)
    again = reread(flow, tmp_path / "f.keras")
    assert isinstance(again.objective, ReverseKL)
    assert again.objective.log_density is around_three
    assert again.objective.stick_the_landing is False
    assert (again.objective.alpha, again.objective.anneal) == (1.0, 0.5)
    assert int(again.optimizer.iterations) == 2
    assert fit(again, steps_per_epoch=2).keys() == {"loss"}


def test_an_objective_of_ones_own_is_restored(tmp_path):
    flow = built()
    flow.compile("adam", loss=Squares(2.0))
    again = reread(flow, tmp_path / "f.keras")
    assert isinstance(again.objective, Squares)
    assert again.objective.factor == 2.0


def test_maximum_likelihood_leaves_files_as_they_were(tmp_path):
    flow = built()
    flow.compile("adam", loss=MaximumLikelihood())
    assert isinstance(reread(flow, tmp_path / "f.keras").objective, MaximumLikelihood)
    with zipfile.ZipFile(tmp_path / "f.keras") as file:
        assert "objective" not in json.loads(file.read("config.json"))["compile_config"]


@pytest.mark.two_engines
@pytest.mark.parametrize("density", [standard_normal, lambda x: around_three(x), Layered()])
def test_what_is_not_registered_does_not_cost_the_flow(tmp_path, density):
    flow = built()
    flow.compile("adam", loss=ReverseKL(density))
    with pytest.warns(UserWarning, match="ReverseKL cannot be saved, and the flow is saved as if"):
        again = reread(flow, tmp_path / "f.keras")
    np.testing.assert_array_equal(again.log_prob(X), flow.log_prob(X))
    for call in (again.fit, again.train_on_batch):
        with pytest.raises(ValueError, match=r"call `compile\(\)`"):
            call(X)
    again.compile("adam", loss=ReverseKL(density))
    assert fit(again, steps_per_epoch=1).keys() == {"loss"}
