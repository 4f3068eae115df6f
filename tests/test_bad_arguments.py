"""What is passed by mistake gets an error that says what was expected, and what came."""

import re

import keras
import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import ActNorm, BlockAutoregressive, Chain, Conv1x1, Coupling, Scale, Shift
from flowkit.conditioners import MADE, MLP, ConvNet, ResidualMADE, ResidualMLP
from flowkit.convert import from_zuko
from flowkit.distributions import Joint, Normal, StudentT
from flowkit.testing import check_bijector, check_distribution
from flowkit.training import GuardedOptimizer, Validation, WarmUpCosine, image_grid
from flowkit.transforms import ByColumn

pytestmark = pytest.mark.one_engine


def flow():
    made = Flow(Coupling(MLP([4])))
    made.build((None, 2))
    return made


def singular():
    layer = Conv1x1()
    layer.build((None, 2))
    layer.assign([[1.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Flow(ActNorm(), base="normal"), TypeError, "expected a base density"),
        (lambda: Flow(ActNorm(), base=Normal), TypeError, "expected a base density"),
        (lambda: Coupling("mlp"), TypeError, "expected a Conditioner or a Keras layer"),
        (lambda: MLP(64), ValueError, "got 64, expected a list of widths, such as [64, 64]"),
        (
            lambda: MADE([2], degrees=np.array(3)),
            ValueError,
            "MADE's degrees: got array(3), expected a list of whole numbers",
        ),
        (lambda: MADE([2], degrees=3), ValueError, "MADE's degrees: got 3, expected a list of whole numbers"),
        (lambda: MADE(3), ValueError, "got 3, expected a list of widths, such as [64, 64]"),
        (lambda: MADE([8]).build((None, 3)), ValueError, "a multiple of 3 entries, received None"),
        (lambda: ConvNet(0), ValueError, "ConvNet's width: got 0, expected a whole number from 1 up"),
        (
            lambda: ResidualMLP(blocks=2**31),
            ValueError,
            "ResidualMLP's blocks: got 2147483648, expected a whole number from 1 to 1024",
        ),
        (
            lambda: ResidualMADE(blocks=2**31),
            ValueError,
            "ResidualMADE's blocks: got 2147483648, expected a whole number from 1 to",
        ),
        (
            lambda: BlockAutoregressive(depth=2**31),
            ValueError,
            "depth: got 2147483648, expected a whole number from 1 to 1024",
        ),
        (lambda: ByColumn(None), TypeError, "ByColumn's transforms: got None, expected a list of transforms"),
        (lambda: Joint(None, [[0]]), TypeError, "Joint's parts: got None, expected a list of distributions"),
        (
            lambda: Joint([Normal()], None),
            ValueError,
            "Joint's places: got None, expected a list of whole numbers",
        ),
        (lambda: ActNorm(factor=0), ValueError, "ActNorm's factor: got 0, expected a finite number above 0"),
        (lambda: Shift("a"), ValueError, "Shift's shift: got 'a', expected a finite number, a list of them"),
        (
            lambda: Scale([1.0, float("nan")]),
            ValueError,
            "Scale's log_scale: got [1.0, nan], expected a finite number",
        ),
        (singular, ValueError, "a matrix that can be inverted"),
        (
            lambda: Coupling(MLP([4]), split="checkerboard").build((None, 1, 1, 3)),
            ValueError,
            "at least 2 places, one to keep and one to change, received shape (None, 1, 1, 3). For one place",
        ),
        (lambda: from_zuko({}), ValueError, "got no variables, expected some such as transform"),
        (
            lambda: from_zuko({"flow.transform.transforms.0.order": [0]}),
            ValueError,
            "got flow.transform.transforms.0.order",
        ),
        (lambda: MLP([8, 0.5]), ValueError, "got 0.5, expected a whole number from 1 up"),
        (lambda: Chain(ActNorm()), TypeError, "expected a list of bijectors"),
        (lambda: StudentT(df="3"), ValueError, "got '3', expected a finite number above 0"),
        (lambda: check_bijector(flow()), TypeError, "Pass the bijector of a flow"),
        (lambda: check_bijector("flow"), TypeError, "check_bijector: got 'flow', expected a Bijector"),
        (
            lambda: check_distribution("normal"),
            TypeError,
            "check_distribution: got 'normal', expected a Distribution",
        ),
        (lambda: GuardedOptimizer("adam"), TypeError, "got 'adam', expected a keras.optimizers.Optimizer"),
        (
            lambda: GuardedOptimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())),
            ValueError,
            "got a LossScaleOptimizer",
        ),
        (
            lambda: WarmUpCosine(0.1, warmup_steps=9, total_steps=9),
            ValueError,
            "got 9, expected more than the 9",
        ),
        (lambda: Validation(np.zeros((0, 2))), ValueError, "expected at least one row or image to score"),
        (lambda: Validation(None), ValueError, "Validation: got None, expected at least one"),
        (lambda: image_grid(np.zeros((2, 2), "uint8")), ValueError, "got shape"),
        (lambda: image_grid(np.zeros((0, 2, 2), "uint8")), ValueError, "got shape"),
        (lambda: image_grid(np.zeros((1, 2, 2), "float32")), ValueError, "got float32"),
        (lambda: image_grid(np.full((1, 2, 2), 256)), ValueError, "in 256..256"),
        (lambda: flow().sample(2, seed="a"), ValueError, "seed: got 'a', expected a whole number"),
        (lambda: flow().log_prob(None), ValueError, "got None, expected data as an array of numbers"),
        (lambda: flow().log_prob("rows"), ValueError, "got 'rows', expected data as an array of numbers"),
        (lambda: flow().log_prob(3.0), ValueError, "got 3.0, expected data as an array of numbers"),
    ],
)
def test_says_what_was_expected(call, error, says):
    with pytest.raises(error, match=re.escape(says)):
        call()


def named(name):
    """What a file says of a class of Keras that is to be called as a function."""
    return {"module": "keras.layers", "class_name": "function", "config": name, "registered_name": name}


@pytest.mark.parametrize("network", [MLP, ResidualMLP, MADE, ResidualMADE])
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
