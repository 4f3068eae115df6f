"""What is no number, or none that makes sense, is refused by name where a class or a family is told it.

Every public class and family is asked for itself, so that a new one is asked too.
"""

import collections.abc
import inspect
import itertools
import types
import typing

import keras
import numpy as np
import pytest
from keras import ops
from test_public import public_classes

from flowkit import BijectorSpec, transforms, zoo
from flowkit.bijectors import ActNorm, Chain, Exp, Permute, Squeeze
from flowkit.conditioners import MADE, MLP, LipschitzMLP
from flowkit.distributions import Normal

NAN = float("nan")
WHOLE = ("a", [], NAN, -1, True, 1.5)
REAL = ("a", [], NAN, -1, True, float("inf"))
WHOLES = ("a", [], NAN, -1, True, ["a"], [0.5], [-1], [True])

# What a class cannot be made without.
NEEDED = {
    "Augment": lambda: {"extra": 1},
    "Autoregressive": lambda: {"conditioner": MADE([4])},
    "Batches": lambda: {"x": np.zeros((4, 2)), "batch_size": 2},
    "ByColumn": lambda: {"transforms": [transforms.Affine()]},
    "CSVLog": lambda: {"path": "a.csv"},
    "Chain": lambda: {"parts": [Exp()]},
    "Continuous": lambda: {"field": keras.layers.Dense(2)},
    "Coupling": lambda: {"conditioner": MLP([4])},
    "DequantizeColumns": lambda: {"columns": [("whole", 3), "positive"]},
    "Flow": lambda: {"bijector": ActNorm()},
    "GIN": lambda: {"conditioner": MLP([4])},
    "GaussianNoise": lambda: {"std": 0.1},
    "GuardedOptimizer": lambda: {"inner_optimizer": keras.optimizers.Adam()},
    "ImageGrid": lambda: {"images": np.zeros((4, 2, 2, 1), "uint8")},
    "Inverse": lambda: {"bijector": Exp()},
    "Joint": lambda: {"parts": [Normal(), Normal()], "places": [[0], [1]]},
    "LabelDropout": lambda: {"num_classes": 2},
    "LabelledFlow": lambda: {"bijector": ActNorm(), "num_classes": 2},
    "Log": lambda: {"to": "csv", "folder": "logs"},
    "MultiScale": lambda: {"scales": [Chain([Squeeze(), ActNorm()])]},
    "OnColumns": lambda: {"bijector": Exp(), "columns": [True, False]},
    "PatchCoupling": lambda: {"conditioner": MLP([4])},
    "Pointwise": lambda: {"transform": "affine"},
    "ProgressBar": lambda: {"batch_size": 4},
    "RandomSizes": lambda: {"sizes": (1, 4)},
    "Repeat": lambda: {"block": ActNorm(), "n": 2},
    "Reshape": lambda: {"target": (4,)},
    "Residual": lambda: {"conditioner": LipschitzMLP([4])},
    "Resume": lambda: {"path": "a.npz"},
    "ReverseKL": lambda: {"log_density": len},
    "SampleGrid": lambda: {"folder": "samples"},
    "ScaledDense": lambda: {"features": 2},
    "Slice": lambda: {"keep": 1},
    "SoftBounds": lambda: {"bounds": [(0.0, 1.0)]},
    "Unconstrain": lambda: {"domains": ["real", "positive"]},
    "VariationalDequantize": lambda: {"density": ActNorm()},
    "Validation": lambda: {"x": np.zeros((4, 2))},
    "WarmUp": lambda: {"peak": 0.1},
    "WarmUpCosine": lambda: {"peak": 0.1, "total_steps": 10},
    "flow_pp": lambda: {
        "input_shape": (2, 4, 1),
        "width": 4,
        "mixtures": 1,
        "blocks": 1,
        "couplings": (1, 1, 1),
        "dequantize": "uniform",
    },
    "CausalConvNet": lambda: {"columns": 2},
    "maf_images": lambda: {"input_shape": (2, 2, 1), "width": 4, "depth": 1, "mixtures": 2},
    "realnvp_images": lambda: {"input_shape": (2, 2, 1), "levels": 1, "width": 4, "blocks": 1},
    "flow_matching": lambda: {"features": 2, "hidden": [4], "steps": 1},
    "ffjord": lambda: {"features": 2, "hidden": [4], "steps": 1},
    "glow": lambda: {"levels": 1, "steps": 1, "width": 4},
}
# What flowkit makes itself and hands out.
HANDED_OUT = {
    "Columns",
    "Dataset",
    "DensityDraws",
    "Detector",
    "DrawnFlow",
    "Example",
    "InferenceReport",
    "Launch",
    "LazyImages",
    "LikelihoodPosterior",
    "Posterior",
    "PyODDetector",
    "Report",
    "Table",
}
# Where these make sense: no entry, an event that is a single number, a number below 0.
FINE = {
    *((name, "order", "[]") for name in ("Autoregressive", "Permute")),
    *((name, "angles", "[]") for name in ("AngularMADE", "AngularMLP")),
    *(("Reshape", name, "[]") for name in ("target", "source")),
    ("Flatten", "source", "[]"),
    ("DequantizeColumns", "missing", "[]"),
    ("DequantizeColumns", "atoms", "[]"),
    ("Uniform", "low", "-1"),
    ("ReverseKL", "alpha", "-1"),
}

ASKED = {
    kind.__name__: kind for kind in public_classes() if not issubclass(kind, Exception)
} | zoo.ARCHITECTURES


def kinds_of(annotation):
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    kinds = typing.get_args(annotation) if union else (annotation,)
    # Beside the rule that checks it, an annotation names the type.
    return tuple(kind.__origin__ if hasattr(kind, "__metadata__") else kind for kind in kinds)


def wrong_values(annotation):
    """What is no value of a parameter with this annotation; nothing if it takes no numbers."""
    kinds = kinds_of(annotation)
    lists = [kind for kind in kinds if typing.get_origin(kind) is collections.abc.Sequence]
    if any(typing.get_args(kind) == (int,) for kind in lists):
        wrong = WHOLES
    elif float in kinds:
        wrong = REAL
    elif int in kinds:
        wrong = WHOLE
    else:
        return ()
    return wrong if type(None) in kinds else (*wrong, None)


@pytest.mark.parametrize("name", sorted(set(ASKED) - HANDED_OUT))
def test_what_is_no_number_is_refused_by_name(name):
    make = ASKED[name]
    for parameter in inspect.signature(make).parameters.values():
        for value in wrong_values(parameter.annotation):
            if (name, parameter.name, repr(value)) in FINE:
                continue
            given = NEEDED.get(name, dict)() | {parameter.name: value}
            with pytest.raises(ValueError, match="expected") as caught:
                make(**given)
            told = str(caught.value)
            assert parameter.name.split("_")[-1] in told, (parameter.name, value)
            assert ": got " in told, (parameter.name, value)
            assert "\n" not in told


@pytest.mark.parametrize("name", sorted(set(ASKED) - HANDED_OUT))
def test_a_number_may_come_out_of_an_array(name):
    """As the largest of some data does, or what `np.load` gives; a config has it as Python's own."""
    make = ASKED[name]
    forms = itertools.cycle([lambda number: number, np.asarray, ops.convert_to_tensor])
    for parameter in inspect.signature(make).parameters.values():
        given = NEEDED.get(name, dict)()
        value = given.get(parameter.name, parameter.default)
        if type(value) not in (int, float) or not {int, float} & set(kinds_of(parameter.annotation)):
            continue
        scalar = np.float32(value) if type(value) is float else np.int64(value)
        made = make(**given | {parameter.name: next(forms)(scalar)})
        if isinstance(made, keras.Layer):
            told = made.get_config().get(parameter.name, value)
            assert told is None or type(told) in (int, float), (parameter.name, type(told))


def test_what_has_no_axes_is_not_yet_a_number():
    for value in (np.array("1"), np.array(True), np.array(1j), np.timedelta64(3, "s"), keras.KerasTensor(())):
        with pytest.raises(ValueError, match=r"bound: got .*, expected a finite number above 0"):
            transforms.RationalQuadratic(bound=value)


def test_lists_of_whole_numbers_may_be_arrays():
    assert Permute(np.array([1, 0])).order == [1, 0]
    with pytest.raises(ValueError, match=r"Permute's order: got array.*, expected a list of whole numbers"):
        Permute(np.array(1))
    assert BijectorSpec(event_rank=np.int64(2)) == BijectorSpec(event_rank=2)
    assert BijectorSpec(event_rank=[1, 3]) == BijectorSpec(event_rank=(1, 3))
    assert MADE([2, 2], degrees=np.array([[0, 1], [0, 1]])).get_config()["degrees"] == [[0, 1], [0, 1]]
    for flat in ([0, 1], np.array([0, 1])):
        with pytest.raises(ValueError, match=r"MADE's degrees: got .*, expected a list of whole numbers"):
            MADE([2], degrees=flat)
