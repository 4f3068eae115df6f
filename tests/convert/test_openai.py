"""Weights of the published code, against the specification evaluated without flowkit."""

import math
import re

import numpy as np
import pytest
from published_model import Published, encode_and_score, random_checkpoint
from tolerance import PARITY

from flowkit import Flow, bijectors, zoo
from flowkit.conditioners import MLP
from flowkit.convert import from_openai, to_openai

SHAPE = (8, 8, 2)
CONDITIONING = {
    "nothing": {"learn_top": False},
    "a learned top": {"learn_top": True},
    "classes": {"learn_top": False, "classes": 3},
    "both": {"learn_top": True, "classes": 3},
}


def continuous(n=3, shape=SHAPE):
    return np.random.default_rng(1).uniform(-0.5, 0.5, (n, *shape)).astype("float32")


@pytest.mark.parametrize(
    ("coupling", "permutation", "conditioning"),
    [
        *(("affine", "conv1x1", conditioning) for conditioning in CONDITIONING),
        ("affine", "shuffle", "nothing"),
        ("additive", "reverse", "both"),
        ("additive", "conv1x1", "classes"),
    ],
)
def test_latents_and_densities_are_those_of_the_specification(coupling, permutation, conditioning):
    options = CONDITIONING[conditioning]
    steps = 2 if coupling == "affine" else 1
    variables = random_checkpoint(steps=steps, coupling=coupling, permutation=permutation, **options)
    labels = np.array([2, 0, 1]) if "classes" in options else None
    x = continuous()
    z, log_prob = Published(variables).encode(x, labels)
    flow = from_openai(variables, n_bits=None)
    latents, density = encode_and_score(flow, x, labels)
    np.testing.assert_allclose(density, log_prob, rtol=PARITY)
    # A latent may be close to zero: its error is measured against the size of all.
    np.testing.assert_allclose(latents, z, rtol=PARITY, atol=PARITY * np.abs(z).max())
    if (coupling, permutation, conditioning) == ("affine", "conv1x1", "both"):  # and what users call
        np.testing.assert_allclose(flow.log_prob(x, labels), log_prob, rtol=PARITY)
        np.testing.assert_allclose(flow.encode(x, labels), z, rtol=PARITY, atol=PARITY * np.abs(z).max())


@pytest.mark.parametrize("n_bits", [5, 8])
def test_images_are_dequantised_as_published(n_bits):
    variables, bins = random_checkpoint(), 2**n_bits
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype="uint8")
    centres = (images // 2 ** (8 - n_bits) + 0.5) / bins - 0.5
    flow = from_openai(variables, n_bits=n_bits)
    z, _ = Published(variables).encode(centres)
    np.testing.assert_allclose(flow.encode(images), z, rtol=PARITY, atol=PARITY * np.abs(z).max())
    volume = flow.dequantize.log_volume(math.prod(SHAPE))
    assert volume == pytest.approx(-math.prod(SHAPE) * math.log(bins))


def test_images_may_have_any_size_until_one_was_seen():
    variables = random_checkpoint(steps=1)
    flow = from_openai(variables, n_bits=None)
    with pytest.raises(ValueError, match="to know the size of the data"):
        flow.sample(1)
    x = continuous(shape=(12, 4, 2))
    np.testing.assert_allclose(encode_and_score(flow, x)[1], Published(variables).encode(x)[1], rtol=PARITY)
    assert from_openai(variables, input_shape=SHAPE).event_shape == SHAPE
    with pytest.raises(
        ValueError, match=r"actnorm_center/b: got shape \(1, 1, 1, 8\), expected \(1, 1, 1, 12\)"
    ):
        from_openai(variables, input_shape=(8, 8, 3))


@pytest.mark.parametrize(("permutation", "classes"), [("conv1x1", 3), ("shuffle", None), ("reverse", 3)])
def test_there_and_back_every_variable_is_the_same(permutation, classes):
    variables = random_checkpoint(levels=3, steps=1, permutation=permutation, classes=classes)
    written = to_openai(from_openai(variables))
    expected = {name: array for name, array in variables.items() if "classifier" not in name}
    assert written.keys() == expected.keys()
    for name, array in expected.items():
        assert written[name].dtype == array.dtype
        np.testing.assert_array_equal(written[name], array)


def test_neither_side_changes_with_the_other():
    given = random_checkpoint(levels=1, steps=1)
    variables = {name: array.copy() for name, array in given.items()}
    flow = from_openai(variables)
    for array in variables.values():
        array += 1
    written = to_openai(flow)
    for weight in flow.bijector.trainable_variables:
        weight.assign(0 * weight)
    for name, array in written.items():
        np.testing.assert_array_equal(array, given[name])


def test_a_factored_convolution_is_written_as_its_product(perturb):
    flow = perturb(zoo.glow(levels=1, steps=2, width=8, n_bits=None, input_shape=SHAPE))
    ported = from_openai(to_openai(flow), n_bits=None)
    expected = encode_and_score(flow, continuous())[1]
    np.testing.assert_allclose(encode_and_score(ported, continuous())[1], expected, rtol=PARITY)


def test_what_a_checkpoint_keeps_beside_the_model_is_left_aside():
    variables = random_checkpoint(steps=1)
    averages = {f"{name}/ExponentialMovingAverage": 0 * array for name, array in variables.items()}
    averages |= {f"{name}/biased": array for name, array in averages.items()}
    slots = {"Variable": np.float32(1), "Variable_1": np.zeros((3, 3), "float32")}
    flow = from_openai(variables | averages | slots)
    assert to_openai(flow).keys() == variables.keys()


# What is refused


def changed(name, array):
    return random_checkpoint(steps=1) | {name: array}


def test_a_missing_variable_is_named_with_its_shape():
    whole = random_checkpoint(steps=2, classes=3)
    for name in ("model/1/1/f1/l_1/W", "model/1/1/invconv/W", "model/prior/p/logs", "model/prior/y_emb/b"):
        variables = {key: array for key, array in whole.items() if key != name}
        message = f"^{re.escape(f'{name}: got no array, expected one of shape {whole[name].shape}.')}$"
        with pytest.raises(ValueError, match=message):
            from_openai(variables)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("model/1/0/f1/l_1/W", np.zeros((3, 3, 9, 7)), "got shape (3, 3, 9, 7), expected (3, 3, 9, 8)"),
        ("model/0/0/actnorm_center/b", np.zeros(8), "got shape (8,), expected (1, 1, 1, None)"),
        ("model/0/0/invconv/w", np.zeros((8, 8)), "of shape (8, 8) is not part of this model"),
        ("model/pool0/conv/b", np.full((1, 1, 1, 8), np.nan), "got NaN or infinity"),
        ("model/0/0/invconv/W", np.ones((8, 8)), "got a singular matrix"),
        ("model/prior/p/logs", np.array([["a"] * 32]), "expected numbers"),
    ],
)
def test_a_wrong_variable_is_named(name, array, message):
    with pytest.raises(ValueError, match=f"^{re.escape(name)}.*{re.escape(message)}"):
        from_openai(changed(name, array))


def test_a_shuffle_that_is_none_is_refused():
    variables = random_checkpoint(steps=1, permutation="shuffle")
    variables["model/0/0/shuffle/indices"] = np.zeros(8, "int32")
    with pytest.raises(ValueError, match=r"model/0/0/shuffle/indices .*a permutation and its inverse"):
        from_openai(variables)


@pytest.mark.parametrize("variables", [{}, {"dense/kernel": np.zeros((2, 2))}])
def test_variables_of_something_else_are_refused(variables):
    with pytest.raises(ValueError, match=r"got .*, expected variables such as model/0/0/actnorm_center/b"):
        from_openai(variables)


def test_only_flows_that_the_published_code_can_express_are_written():
    def step(coupling):
        return [bijectors.ActNorm(), bijectors.Permute(), coupling]

    table = Flow(bijectors.Chain(step(bijectors.Coupling(MLP([8])))))
    network = bijectors.Chain([bijectors.Squeeze(), *step(bijectors.Coupling(MLP([8])))])
    for flow in (table, Flow(bijectors.MultiScale([network]))):
        with pytest.raises(
            ValueError, match=r"got other layers, expected a Glow as flowkit.zoo.glow makes it"
        ):
            to_openai(flow)
    for options in ({}, {"input_shape": (4, 4, 1)}):
        with pytest.raises(ValueError, match="Adapt or fit it first"):
            to_openai(zoo.glow(levels=1, steps=1, width=8, **options))
    bounded = zoo.glow(levels=1, steps=1, width=8, min_scale=0.1, input_shape=(4, 4, 1))
    bounded.adapt(np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8"))
    with pytest.raises(
        ValueError, match=r"the published code cannot express. check: got other log-densities in 2 of 2 rows"
    ):
        to_openai(bounded)
