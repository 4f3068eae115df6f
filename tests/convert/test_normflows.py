"""Glows of normflows, against the package itself."""

import re

import numpy as np
import pytest
from published_model import encode_and_score
from tolerance import PARITY

from flowkit.convert import from_normflows

torch = pytest.importorskip("torch")
nf = pytest.importorskip("normflows")

SHAPE = (8, 8, 2)
PRIORS = {
    "channels": lambda shape: nf.distributions.GlowBase(shape),
    "channels and classes": lambda shape: nf.distributions.GlowBase(shape, num_classes=3),
    "places": lambda shape: nf.distributions.DiagGaussian(shape),
    "places and classes": lambda shape: nf.distributions.ClassCondDiagGaussian(shape, 3),
}


def original(*, prior="channels", levels=2, steps=2, transform=None, seen=True, **options):
    """A model in float64, with weights as if trained."""
    torch.manual_seed(0)
    height, width, channels = SHAPE
    bases, flows, merges = [], [], []
    for i in range(levels):
        blocks = [nf.flows.GlowBlock(channels * 2 ** (levels + 1 - i), 8, **options) for _ in range(steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        size = 2 ** (levels - i)
        c = channels * size * (2 if i == 0 else 1)
        bases.append(PRIORS[prior]((c, height // size, width // size)))
        if i > 0:
            merges.append(nf.flows.Merge())
    model = nf.MultiscaleFlow(
        bases, flows, merges, transform=transform, class_cond="classes" in prior
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in model.named_buffers():
            if name.endswith("data_dep_init_done"):
                buffer.fill_(float(seen))
    return model


def log_prob(model, x, labels):
    with torch.no_grad():
        y = None if labels is None else torch.tensor(labels)
        return model.log_prob(torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2), y).numpy()


def data(n=3):
    return np.random.default_rng(1).uniform(0, 1, (n, *SHAPE)).astype("float32")


@pytest.mark.parametrize("prior", PRIORS)
def test_densities_are_those_of_the_package(prior):
    check_densities(prior)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": False},
        {"use_lu": False},
        {"net_actnorm": True},
        {"levels": 1},
        {"transform": nf.transforms.Shift(-0.5)},
    ],
    ids=["additive", "plain W", "actnorm inside", "one level", "shifted"],
)
def test_whatever_its_blocks_are(options):
    check_densities("places and classes", **options)


def check_densities(prior, **options):
    model = original(prior=prior, **options)
    labels = np.array([2, 0, 1]) if "classes" in prior else None
    density = encode_and_score(from_normflows(model), data(), labels)[1]
    np.testing.assert_allclose(density, log_prob(model, data(), labels), rtol=PARITY)


def test_latents_are_those_of_the_package_whitened():
    model = original(prior="places")
    with torch.no_grad():
        parts, _ = model.inverse_and_log_det(torch.tensor(data(), dtype=torch.float64).permute(0, 3, 1, 2))
        eps = [
            ((z - q.loc) / torch.exp(q.log_scale)).permute(0, 2, 3, 1)
            for z, q in zip(parts, model.q0, strict=True)
        ]
    expected = np.concatenate([part.reshape(3, -1).numpy() for part in eps[::-1]], axis=1)
    z, _ = encode_and_score(from_normflows(model), data())
    np.testing.assert_allclose(z, expected, rtol=PARITY, atol=PARITY * np.abs(expected).max())


def test_images_as_stored_are_taken_to_the_unit_interval():
    model = original(transform=nf.transforms.Shift(-0.25))
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype="uint8")
    continuous, _ = encode_and_score(from_normflows(model), ((images + 0.5) / 256).astype("float32"))
    expected = from_normflows(model, n_bits=8).encode(images)
    np.testing.assert_allclose(continuous, expected, rtol=PARITY, atol=PARITY * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_map": "exp"}, "flows.1.0: got 'exp', expected scale_map 'sigmoid'"),
        ({"leaky": 0.1}, "got 0.1, expected ReLUs, leaky=0"),
        ({"split_mode": "channel_inv"}, "got 'channel_inv', expected split_mode 'channel'"),
        ({"seen": False}, "an ActNorm has seen no data"),
    ],
)
def test_what_cannot_be_expressed_is_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_normflows(original(**options))


def test_what_is_no_glow_is_refused():
    with pytest.raises(ValueError, match="got 'Linear', expected a MultiscaleFlow of normflows"):
        from_normflows(torch.nn.Linear(2, 2))
    model = original(transform=nf.transforms.Logit())
    with pytest.raises(ValueError, match="transform: got 'Logit', expected none or a Shift"):
        from_normflows(model)
    model = original()
    model.q0[0] = nf.distributions.Uniform(16)
    with pytest.raises(ValueError, match=r"q0\.0: got a Uniform.*, expected GlowBase, "):
        from_normflows(model)
