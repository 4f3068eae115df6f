"""What cannot be judged is not asked, and what no precision of the layer's can show is a note."""

import math

import keras
import pytest
from keras import ops

from flowkit.bijectors import Chain, Elementwise, Scale, Shift
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.surjections import Absolute
from flowkit.testing import Case, check_bijector
from flowkit.testing.clauses import CLAUSES, maps
from tests.testing.drawing_layers import Signed
from tests.testing.wrong_bijectors.inverses import Bisected, EpsilonInside
from tests.testing.wrong_bijectors.pieces import EndsBeforeItsBound

pytestmark = pytest.mark.one_engine

QUICK = {"event_shapes": [(2,)], "examples": 4, "raises": False}
NEEDS_INVERSE = [name for name, clause in CLAUSES.items() if True in clause.needs]


class NoWayBack(Elementwise):
    """x + x^3 / 3, which nobody has inverted yet."""

    def _forward(self, x):
        return x + x**3 / 3, ops.log1p(x**2)


@keras.saving.register_keras_serializable("verdicts")
class SaysSo(NoWayBack):
    def _inverse(self, z):
        raise NotImplementedError("density only")


class Adds(Bijector):
    """A weight, a wrong log-det, and no inverse."""

    def build(self, x_shape):
        self.shift = self.add_weight(shape=x_shape[1:], initializer="zeros", name="shift")

    def _forward(self, x):
        return x + self.shift, 0.5


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (NoWayBack, "NoWayBack has no _inverse"),
        (lambda: Chain([Shift(), SaysSo()]), "density only"),
    ],
)
def test_a_layer_without_an_inverse_is_told_once_and_the_rest_is_judged(make, says):
    clauses = [name for name in CLAUSES if name != "compiled"]
    report = check_bijector(make, clauses=clauses, **QUICK)
    assert not report.broken, report
    for result in report.results:
        if result.clause in NEEDS_INVERSE:
            assert (result.verdict, result.reason) == ("not asked", "no inverse")
        else:
            assert result.verdict == "kept" or "NotImplementedError" not in result.reason
    assert sum(result.verdict == "kept" for result in report.results) >= 15
    (note,) = report.notes
    assert note.startswith("inverse: none")
    assert says in note
    assert all(repr(name) in note for name in NEEDS_INVERSE)
    assert note in str(report)


class Unregistered(Shift):
    """Keras finds it by name only where it was defined."""


@keras.saving.register_keras_serializable("verdicts")
class Registered(Shift):
    pass


def test_saving_is_checked_for_registered_classes_alone():
    options = {**QUICK, "clauses": ["saving"]}
    assert check_bijector(Registered, **options)["saving"].verdict == "kept"
    report = check_bijector(Unregistered, **options)
    assert report["saving"].verdict == "not asked"
    expected = "not checked: got Unregistered, expected a class registered with Keras. Decorate it with"
    assert report["saving"].reason.startswith(expected)
    assert "register_keras_serializable" in str(report)
    # A part is not offered by name, so its file cannot be loaded at all.
    (broken,) = check_bijector(lambda: Chain([Unregistered()]), **options).broken
    assert "Could not locate class 'Unregistered'" in broken.reason


class Misspelt(Bijector):
    def _forward(self, x):
        return 2.0 * x, math.log(2.0) * x.shape[-1]

    def _inverese(self, z):
        return z / 2.0, -math.log(2.0) * z.shape[-1]


@pytest.mark.parametrize(("make", "broken"), [(Misspelt, []), (Adds, ["log-det"])])
def test_what_is_wrong_forward_is_found_without_an_inverse_whose_name_is_misspelt(make, broken):
    report = check_bijector(make, clauses=["log-det", "inverse log-det"], **QUICK)
    assert [result.clause for result in report.broken] == broken
    (note,) = report.notes
    assert ("no _inverse(self, z), but _inverese: rename that to _inverse" in note) == (make is Misspelt)


@pytest.mark.two_engines
def test_an_operation_that_an_engine_lacks_is_no_missing_inverse():
    class Lacks(Scale):
        def _inverse(self, z):
            return _of_a_library(), 0.0

    report = check_bijector(Lacks, clauses=["log-det shape"], **QUICK)
    assert report.broken
    assert not report.notes


names = {}
source = "def _of_a_library():\n    raise NotImplementedError('no kernel for this type')"
exec(compile(source, "/lib/site-packages/torch/fake.py", "exec"), names)  # as if written in a library
_of_a_library = names["_of_a_library"]


class Vague(Bisected):
    spec = BijectorSpec(inverse="iterative", round_trip=1e5)


def test_a_promise_that_was_not_verified_is_no_success():
    vague = {"clauses": ["inverse round trip"], **QUICK}
    report = check_bijector(Vague, **vague)
    assert (bool(report), report.as_dict()["kept"], report.broken) == (False, False, [])
    assert "the error that the spec allows" in report["inverse round trip"].reason
    assert str(report).splitlines()[1].startswith("  NOT VERIFIED  inverse round trip: ")
    with pytest.raises(ContractError, match="the promise was not verified"):
        check_bijector(Vague, **{**vague, "raises": True})
    assert check_bijector(Vague, **vague, waived={"inverse round trip": "solved to no digit"})
    with pytest.raises(ContractError, match="the promise was not verified"):
        Case("vague", Vague, ((2,),)).check("inverse round trip")


@pytest.mark.parametrize("make", [Absolute, Signed])
def test_discrete_noise_is_judged_by_mass(make):
    report = check_bijector(make, clauses=["log-det"], **QUICK)
    assert report["log-det"].verdict == "kept", report


class Guarded(Elementwise):
    """An epsilon in a denominator: some 1e-12 off, and float32 rounds at 1e-7."""

    def _forward(self, x):
        return 2 * x, ops.log(2 * ops.ones_like(x))

    def _inverse(self, z):
        return z * ops.abs(z) / (2 * ops.abs(z) + 1e-12), -ops.log(2 * ops.ones_like(z))


@pytest.mark.two_engines
def test_an_error_that_the_layers_type_cannot_show_is_a_note():
    options = {"clauses": ["inverse round trip"], **QUICK}
    report = check_bijector(Guarded, **options)
    assert report["inverse round trip"].verdict == "kept"
    (note,) = report.notes
    assert note.startswith("inverse round trip: expected z")
    assert "which float32 cannot show" in note
    assert check_bijector(lambda: Guarded(dtype="float64"), **options).broken
    assert check_bijector(EpsilonInside, **options).broken


class InverseOff(Elementwise):
    """A smooth map, with an inverse that is wrong everywhere."""

    def _forward(self, x):
        return 2 * x, math.log(2) + ops.zeros_like(x)

    def _inverse(self, z):
        return z / 2 + 0.01, -math.log(2) + ops.zeros_like(z)


@pytest.mark.parametrize(("make", "jumps"), [(InverseOff, False), (EndsBeforeItsBound, True)])
def test_gaps_says_that_a_direction_jumps_only_if_it_does(make, jumps):
    (broken,) = check_bijector(make, clauses=["gaps"], **QUICK).broken
    assert ("jumps" in str(broken.error)) == jumps


def test_a_slip_of_the_checker_s_own_is_no_verdict_on_a_layer(monkeypatch):
    monkeypatch.delattr(maps, "difference")
    with pytest.raises(NameError, match="difference"):
        check_bijector(Scale(2.0), clauses=["round trip"], **QUICK)
