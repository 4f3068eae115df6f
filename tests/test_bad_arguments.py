"""What is passed by mistake gets an error that says what was expected, and what came."""

import re

import keras
import numpy as np
import pytest

from flowkit import BijectorSpec, ContractError, Flow, zoo
from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    Exp,
    MultiScale,
    Sigmoid,
    Squeeze,
)
from flowkit.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowkit.convert import from_zuko
from flowkit.diagnostics import calibration, coverage, memorisation
from flowkit.distributions import Joint, Normal, Uniform
from flowkit.evaluation import level_bits, rank_band, ranks, uniformity
from flowkit.latent import resample
from flowkit.surjections import Augment, Slice
from flowkit.testing import check_bijector, check_distribution
from flowkit.training import GuardedOptimizer, Validation, WarmUpCosine, image_grid
from flowkit.transforms import Affine, ByColumn

ROWS = np.zeros((5, 2), "float32")


def flow():
    made = Flow(Coupling(MLP([4])))
    made.build((None, 2))
    return made


def singular():
    layer = Conv1x1()
    layer.build((None, 2))
    layer.assign([[1.0, 1.0], [1.0, 1.0]])


CHECKERBOARD = (
    "at least 2 places, one to keep and one to change, received shape (None, 1, 1, 3). For one place"
)
MANY = "got 2147483648, expected a whole number from 1 to 1024"
SCALED = keras.optimizers.LossScaleOptimizer
PLACES = "each column once"
MULTI_SCALE = "expected a flow whose bijector is a MultiScale"


def placed(places):
    return lambda: Joint([Normal(), Uniform()], places)


# call -> part of its message. What is no number: test_numeric_arguments.py.
BAD = [
    (lambda: Flow(ActNorm(), base=Normal), TypeError, "expected a base density"),
    (lambda: Normal(conditioner="mlp"), TypeError, "expected a Conditioner or a Keras layer"),
    (lambda: MADE([8]).build((None, 3)), ValueError, "a multiple of 3 entries, received None"),
    (lambda: ResidualMLP(blocks=2**31), ValueError, f"ResidualMLP's blocks: {MANY}"),
    (lambda: ByColumn(None), TypeError, "ByColumn's transforms: got None, expected a list of transforms"),
    (lambda: Joint([Affine()], [[0]]), TypeError, "expected a list of distributions"),
    (lambda: Joint([Normal()], None), ValueError, "Joint's places: got None, expected a list of whole numbers"),
    (placed([[0]]), ValueError, "for 2 parts"),
    (placed([[0], [0]]), ValueError, PLACES),
    (placed([[0], [2]]), ValueError, PLACES),
    (lambda: placed([[0], [1]])().build((None, 3)), ContractError, "expected vectors of 2 columns, received shape"),
    (lambda: Normal(learn=True, conditioner=MLP([4])), ValueError, "got learn=True and a conditioner, expected one"),
    (lambda: Normal(conditioner=MLP([4], context="required")), ContractError, "whose input is the context"),
    (lambda: Uniform(1.0, 1.0), ValueError, "got 1.0 and 1.0, expected finite numbers low < high"),
    (lambda: Uniform().sample((2, 2), temperature=0.7), ValueError, "Uniform's temperature: got 0.7, expected 1"),
    (singular, ValueError, "a matrix that can be inverted"),
    (lambda: Coupling(MLP([4]), split="checkerboard").build((None, 1, 1, 3)), ValueError, CHECKERBOARD),
    (lambda: from_zuko({}), ValueError, "got no variables, expected some such as transform"),
    (lambda: from_zuko({"flow.x.order": [0]}), ValueError, "got flow.x.order"),
    (lambda: Flow(Coupling(MLP([8], context="required")), embedding=np.tanh), TypeError, "expected a Keras layer or"),
    (lambda: zoo.glow(coupling="linear"), ValueError, "glow's coupling: got 'linear', expected one of "),
    (
        lambda: zoo.glow(num_classes=3, classifier_weight=0.01, class_conditioning="all_levels"),
        ValueError,
        "glow's class_conditioning: got 'all_levels' with a classifier_weight, expected 'top_prior'",
    ),
    (lambda: zoo.glow(input_shape=(8, 8)), ValueError, "glow's input_shape: got (8, 8), expected"),
    (lambda: check_bijector(flow()), TypeError, "Pass the bijector of a flow"),
    (lambda: check_distribution("normal"), TypeError, "got 'normal', expected a Distribution"),
    (lambda: GuardedOptimizer("adam"), TypeError, "got 'adam', expected a keras.optimizers.Optimizer"),
    (lambda: GuardedOptimizer(SCALED(keras.optimizers.Adam())), ValueError, "got a LossScaleOptimizer"),
    (lambda: WarmUpCosine(0.1, warmup_steps=9, total_steps=9), ValueError, "got 9, expected more than the 9"),
    (lambda: Validation(np.zeros((0, 2))), ValueError, "expected at least one row or image to score"),
    (lambda: image_grid(np.zeros((0, 2, 2), "uint8")), ValueError, "got shape"),
    (lambda: image_grid(np.zeros((1, 2, 2), "float32")), ValueError, "got float32"),
    (lambda: image_grid(np.full((1, 2, 2), 256)), ValueError, "in 256..256"),
    (lambda: MLP([4], num_classes=3), ValueError, "num_classes: got 3 with context='none'"),
    (lambda: Chain([ActNorm]), TypeError, "Call the class, ActNorm"),
    (lambda: flow().log_prob([[1e39, 0.0]]), ValueError, "beyond the largest of float32, 3.4e+38, the first in row 0"),
    (lambda: flow().sample(2, seed="a"), ValueError, "seed: got 'a', expected a whole number"),
    (lambda: flow().sample(2, temperature=np.nan), ValueError, "got nan, expected"),
    (lambda: flow().sample(2, temperature=[0.5, 0.5]), ValueError, MULTI_SCALE),
    (lambda: flow().log_prob("rows"), ValueError, "got 'rows', expected data as an array of numbers"),
    (lambda: level_bits(flow(), np.zeros((2, 2))), ValueError, MULTI_SCALE),
    (lambda: resample(flow(), ROWS, 0), ValueError, MULTI_SCALE),
    (lambda: ranks(flow(), ROWS, ROWS), ValueError, "expected none, since neither its bijector nor its base reads"),
    (lambda: uniformity(np.array([0, 9]), draws=5), ValueError, "in 0..9, expected whole numbers in 0..5"),
    (lambda: uniformity(np.array([0.5]), draws=5), ValueError, "got float64"),
    (lambda: rank_band(10, draws=5, level=95), ValueError, "level: got 95, expected a number between 0 and 1"),
    (lambda: coverage(flow(), ROWS, level=99), ValueError, "level: got 99, expected a number between 0 and 1"),
    (lambda: memorisation(flow(), ROWS, np.zeros((5, 3))), ValueError, "like those of x"),
    (lambda: calibration(flow(), ROWS, None), ValueError, "got no context"),
    (lambda: Slice(1, Sigmoid()), ContractError, "a density from the real numbers onto them"),
    (lambda: Augment(1, Sigmoid()), ContractError, "a density from the real numbers onto them"),
    (lambda: Chain([Slice(1)], backprop="recompute"), ContractError, "parts without noise"),
    (lambda: MultiScale([Chain([Exp(), Squeeze()]), Squeeze()]), ContractError, "codomain to be Domain.REAL"),
    (lambda: BijectorSpec(log_det="never"), ValueError, "BijectorSpec's log_det: got 'never', expected one of 'zero'"),
    (lambda: BijectorSpec(noise="forward"), ValueError, "got 'exact', expected 'estimated' or 'bound'"),
    (lambda: BijectorSpec(inverse_likelihood="bound"), ValueError, "inverse_likelihood: got 'bound', expected 'exact'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "says"), BAD)
def test_says_what_was_expected(call, error, says):
    with pytest.raises(error, match=re.escape(says)) as caught:
        call()
    assert error is ContractError or "\n" not in str(caught.value)


def named(name):
    """What a file says of a class of Keras that is to be called as a function."""
    return {"module": "keras.layers", "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize("network", [MLP, ResidualMADE])
@pytest.mark.parametrize(
    "activation",
    [
        named("Lambda"),
        named("TorchModuleWrapper"),
        {"module": "keras", "class_name": "Model", "config": {}, "registered_name": None},
        keras.Model,
        "lambda",
        3,
    ],
)
def test_an_activation_is_a_function_or_a_layer(network, activation):
    with pytest.raises(
        ValueError, match=rf"{network.__name__}'s activation: got .*, expected a name such as 'relu'"
    ):
        network(activation=activation)
