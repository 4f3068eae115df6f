"""The report names a direction that rounds float64 to float32; only wrong numbers break a promise."""

from pathlib import Path

import pytest
from keras import ops

from flowkit.bijectors import Coupling, Scale
from flowkit.conditioners import MLP
from flowkit.contract import Bijector
from flowkit.engines import engine
from flowkit.testing import check_bijector
from flowkit.testing.subject import Subject
from tests.testing.awkward_bijectors import Float32Inside
from tests.testing.wrong_bijectors.inverses import Bisected

OPTIONS = {"event_shapes": [(2,)], "examples": 2, "raises": False, "clauses": ["round trip"]}


def test_directions_that_round_are_named():
    report = check_bijector(Float32Inside, **OPTIONS)
    assert [note.partition(" ")[0] for note in report.notes] == ["forward", "inverse"]
    assert all("flowkit.numerics" in note for note in report.notes)
    assert report.as_dict()["notes"] == report.notes
    assert check_bijector(lambda draw: Float32Inside(), **OPTIONS).notes == report.notes


def _low():
    return Coupling(MLP([4], dtype="mixed_bfloat16"))


@pytest.mark.parametrize("make", [Scale, lambda: Scale(12.0), lambda: Coupling(MLP([4])), Bisected, _low])
def test_nothing_is_named_where_all_is_float64_but_a_network_of_another_policy(make):
    report = check_bijector(make, **OPTIONS)
    assert not report.broken, report
    assert report.notes == [] or make is _low


def test_weights_alone_may_round():
    class Rounded(Scale):
        def _forward(self, x):
            return super()._forward(x)[0], ops.sum(ops.cast(ops.cast(self.log_scale, "float32"), x.dtype))

    assert Subject(Rounded).eps((2,)) == 2.0**-23


class Mixing(Bijector):
    """A float32 norm, times a float64 matrix: PyTorch refuses."""

    def build(self, x_shape):
        self.kernel = self.add_weight(shape=(1, 1), initializer="ones", name="kernel")

    def _factor(self, x):
        return ops.norm(ops.ones_like(x), axis=-1, keepdims=True) @ self.kernel

    def _forward(self, x):
        return x + self._factor(x), 0.0

    def _inverse(self, z):
        return z - self._factor(z), 0.0


@pytest.mark.skipif(engine.name != "torch", reason="the other engines convert")
def test_types_that_do_not_mix_are_one_line_that_names_the_cause():
    report = check_bijector(Mixing, **{**OPTIONS, "clauses": ["log-det shape", "round trip", "log-det"]})
    assert len(report.broken) == 1
    message = str(report.broken[0].error)
    source = "        return ops.norm(ops.ones_like(x), axis=-1, keepdims=True) @ self.kernel"
    assert f"{Path(__file__).name}:{Path(__file__).read_text().splitlines().index(source) + 1}" in message
    assert "flowkit.numerics" in message
