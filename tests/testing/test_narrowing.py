"""The report says what computes in float32 although it is given float64, and where."""

from pathlib import Path

import pytest
from keras import ops

from flowkit import numerics
from flowkit.bijectors import Coupling, Elementwise, Scale
from flowkit.conditioners import MLP
from flowkit.contract import Bijector
from flowkit.engines import engine
from flowkit.testing import check_bijector

HERE = Path(__file__).name
OPTIONS = {"event_shapes": [(2,)], "examples": 2, "raises": False, "clauses": ["round trip"]}


class Narrow(Elementwise):
    """Adds log(exp 0 + exp 0) of Keras, which on PyTorch and JAX answers in float32."""

    def _two(self, x):
        return ops.logaddexp(ops.zeros_like(x), ops.zeros_like(x))

    def _forward(self, x):
        return x + self._two(x), ops.zeros_like(x)

    def _inverse(self, z):
        return z - self._two(z), ops.zeros_like(z)


class Wide(Narrow):
    def _two(self, x):
        return numerics.logaddexp(ops.zeros_like(x), ops.zeros_like(x))


def line_of(text):
    return Path(__file__).read_text().splitlines().index(text) + 1


narrows = pytest.mark.skipif(engine.name == "tensorflow", reason="logaddexp keeps float64 there")


@narrows
def test_the_operation_and_its_line_are_told():
    report = check_bijector(Narrow, **OPTIONS)
    line = line_of("        return ops.logaddexp(ops.zeros_like(x), ops.zeros_like(x))")
    (note,) = report.notes
    place = f"`ops.logaddexp`, {HERE}:{line}"
    assert note == f"judged in float32: {place} (flowkit.numerics.logaddexp keeps float64)"
    assert note in str(report)
    assert report.as_dict()["notes"] == [note]


@narrows
def test_a_report_of_drawn_bijectors_tells_it_once():
    report = check_bijector(lambda draw: Narrow(), **OPTIONS)
    assert len(report.notes) == 1


@pytest.mark.parametrize("make", [Wide, Scale])
def test_nothing_is_told_where_all_is_float64(make):
    assert check_bijector(make, **OPTIONS).notes == []


class Rounded(Scale):
    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, ops.cast(ops.cast(log_det, "bfloat16"), x.dtype)


def test_a_cast_below_the_layers_dtype_is_reported_once_with_its_line():
    report = check_bijector(Rounded, **{**OPTIONS, "clauses": None})
    (broken,) = report.broken
    assert broken.clause == "log-det shape"
    if engine.name != "tensorflow":
        line = line_of('        return z, ops.cast(ops.cast(log_det, "bfloat16"), x.dtype)')
        assert f"received bfloat16 from `ops.cast`, {HERE}:{line}" in str(broken.error)
    assert report["log-det"].reason.endswith("see 'log-det shape'")
    assert report.notes == []


def test_float32_breaks_the_promise_of_a_float64_layer():
    assert check_bijector(lambda: Wide(dtype="float64"), **OPTIONS)
    if engine.name != "tensorflow":
        (broken,) = check_bijector(lambda: Narrow(dtype="float64"), **OPTIONS).broken
        assert "to compute in float64" in broken.reason
        assert "flowkit.numerics.logaddexp keeps float64" in str(broken.error)


def test_a_network_may_compute_low_as_its_policy_says():
    report = check_bijector(lambda: Coupling(MLP([4], dtype="mixed_bfloat16")), **OPTIONS)
    assert not report.broken, report


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
    options = {**OPTIONS, "clauses": None}
    report = check_bijector(Mixing, **options)
    assert [result.clause for result in report.broken] == ["log-det shape"]
    message = str(report.broken[0].error).splitlines()[0]
    line = line_of("        return ops.norm(ops.ones_like(x), axis=-1, keepdims=True) @ self.kernel")
    assert f"received float32 from `ops.norm`, {HERE}:{line}" in message
    assert "flowkit.numerics.norm keeps float64" in message
    assert "double" not in message
