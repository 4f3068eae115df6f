"""Weights of rosinality's port, against its model evaluated in float64 numpy, NCHW, as it is described."""

import re

import numpy as np
import pytest
from published_model import encode_and_score, padded, squeeze, valid
from tolerance import PARITY

from flowkit.convert import from_rosinality, to_openai

SHAPE = (8, 8, 2)


def convolve(x, kernel, fill):
    """x is (n, h, w, c), the kernel (out, in, rows, columns); `fill` surrounds every channel."""
    return valid(padded(x, kernel.shape[2] // 2, fill), kernel.transpose(2, 3, 1, 0))


class Port:
    def __init__(self, state):
        self.s = {name: np.asarray(value, "float64") for name, value in state.items()}

    def zero_conv(self, name, x):
        y = convolve(x, self.s[f"{name}.conv.weight"], fill=1) + self.s[f"{name}.conv.bias"]
        return y * np.exp(3 * self.s[f"{name}.scale"].ravel())

    def matrix(self, name):
        if f"{name}.weight" in self.s:
            return self.s[f"{name}.weight"][:, :, 0, 0]
        p, low, up, sign, log_s = (self.s[f"{name}.{key}"] for key in ("w_p", "w_l", "w_u", "s_sign", "w_s"))
        mask = self.s[f"{name}.l_mask"]
        return p @ (low * mask + np.eye(len(p))) @ (up * mask.T + np.diag(sign * np.exp(log_s)))

    def step(self, name, x):
        places, half = x.shape[1] * x.shape[2], x.shape[-1] // 2
        scale, matrix = self.s[f"{name}.actnorm.scale"].ravel(), self.matrix(f"{name}.invconv")
        x = scale * (x + self.s[f"{name}.actnorm.loc"].ravel())
        x = x @ matrix.T
        log_det = places * (np.log(np.abs(scale)).sum() + np.linalg.slogdet(matrix)[1])
        one, two = x[..., :half], x[..., half:]
        net = f"{name}.coupling.net"
        h = np.maximum(convolve(one, self.s[f"{net}.0.weight"], fill=0) + self.s[f"{net}.0.bias"], 0)
        h = np.maximum(convolve(h, self.s[f"{net}.2.weight"], fill=0) + self.s[f"{net}.2.bias"], 0)
        h = self.zero_conv(f"{net}.4", h)
        if h.shape[-1] == half:
            return np.concatenate([one, two + h], -1), log_det
        scale = 1 / (1 + np.exp(-(h[..., :half] + 2)))  # first the scales, then the shifts
        return np.concatenate([one, (two + h[..., half:]) * scale], -1), log_det + np.log(scale).sum(
            (1, 2, 3)
        )

    def encode(self, x):
        """Latents, whitened, and log-density."""
        levels = 1 + max(int(name.split(".")[1]) for name in self.s)
        total, latents = 0.0, []
        for level in range(levels):
            x, step = squeeze(x), 0
            while f"blocks.{level}.flows.{step}.actnorm.loc" in self.s:
                x, log_det = self.step(f"blocks.{level}.flows.{step}", x)
                total, step = total + log_det, step + 1
            half = x.shape[-1] // 2
            kept, out = (x[..., :half], x[..., half:]) if level < levels - 1 else (0 * x, x)
            h = self.zero_conv(f"blocks.{level}.prior", kept)
            mean, logs = h[..., : out.shape[-1]], h[..., out.shape[-1] :]
            eps = (out - mean) / np.exp(logs)
            total = total + (-0.5 * np.log(2 * np.pi) - logs - eps**2 / 2).sum((1, 2, 3))
            latents.append(eps.reshape(len(eps), -1))
            x = kept
        return np.concatenate(latents, axis=1), total


def random_state(*, levels=2, steps=2, width=8, channels=2, affine=True, factored=True):
    """A state dict as if trained: some scales are negative."""
    rng, state = np.random.default_rng(0), {}

    def add(name, *shape, scale=0.1):
        state[name] = rng.normal(0, scale, shape).astype("float32")

    def add_zero_conv(name, inputs, outputs):
        add(f"{name}.conv.weight", outputs, inputs, 3, 3)
        add(f"{name}.conv.bias", outputs)
        add(f"{name}.scale", 1, outputs, 1, 1)

    for level in range(levels):
        c = channels * 4 * 2**level
        for step in range(steps):
            name = f"blocks.{level}.flows.{step}"
            add(f"{name}.actnorm.loc", 1, c, 1, 1)
            signs = rng.choice([-1, 1], (1, c, 1, 1))
            state[f"{name}.actnorm.scale"] = (signs * rng.uniform(0.5, 2, (1, c, 1, 1))).astype("float32")
            state[f"{name}.actnorm.initialized"] = np.uint8(1)
            if factored:
                upper = np.triu(np.ones((c, c), "float32"), 1)
                add(f"{name}.invconv.w_l", c, c)  # masked: what lies above the diagonal does not count
                add(f"{name}.invconv.w_u", c, c)
                add(f"{name}.invconv.w_s", c)
                state |= {
                    f"{name}.invconv.w_p": rng.permutation(np.eye(c, dtype="float32")),
                    f"{name}.invconv.s_sign": rng.choice([-1, 1], c).astype("float32"),
                    f"{name}.invconv.u_mask": upper,
                    f"{name}.invconv.l_mask": upper.T,
                    f"{name}.invconv.l_eye": np.eye(c, dtype="float32"),
                }
            else:
                add(f"{name}.invconv.weight", c, c, 1, 1)
                state[f"{name}.invconv.weight"][:, :, 0, 0] += np.linalg.qr(rng.normal(size=(c, c)))[0]
            add(f"{name}.coupling.net.0.weight", width, c // 2, 3, 3)
            add(f"{name}.coupling.net.0.bias", width)
            add(f"{name}.coupling.net.2.weight", width, width, 1, 1)
            add(f"{name}.coupling.net.2.bias", width)
            add_zero_conv(f"{name}.coupling.net.4", width, c if affine else c // 2)
        top = level == levels - 1
        add_zero_conv(f"blocks.{level}.prior", c if top else c // 2, 2 * c if top else c)
    return state


@pytest.mark.parametrize("factored", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_latents_and_densities_are_those_of_the_port(affine, factored):
    state = random_state(affine=affine, factored=factored)
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (3, *SHAPE)).astype("float32")
    z, log_prob = Port(state).encode(x)
    flow = from_rosinality(state, n_bits=None)
    _, steps = flow.bijector.scales[0].parts
    assert steps.block.parts[1].lu == factored
    latents, density = encode_and_score(flow, x)
    np.testing.assert_allclose(density, log_prob, rtol=PARITY)
    np.testing.assert_allclose(latents, z, rtol=PARITY, atol=PARITY * np.abs(z).max())


def test_it_is_a_glow_like_any_other():
    """So it can go on to the published code's names."""
    flow = from_rosinality({f"module.{name}": array for name, array in random_state(steps=1).items()})
    assert flow.dequantize.levels == 32
    assert "model/0/0/invconv/W" in to_openai(flow)


def test_without_lu_that_code_factors_the_last_block_all_the_same():
    mixed = {k: v for k, v in random_state(steps=1, factored=False).items() if not k.startswith("blocks.1")}
    mixed |= {k: v for k, v in random_state(steps=1).items() if k.startswith("blocks.1")}
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (3, *SHAPE)).astype("float32")
    flow = from_rosinality(mixed, n_bits=None)
    np.testing.assert_allclose(encode_and_score(flow, x)[1], Port(mixed).encode(x)[1], rtol=PARITY)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("blocks.0.flows.0.actnorm.initialized", np.uint8(0), " has seen no data"),
        ("blocks.0.flows.0.actnorm.scale", np.zeros((1, 8, 1, 1)), "is 0 for channel 0: not invertible"),
    ],
)
def test_what_is_wrong_is_named(name, array, message):
    start = re.escape(name.rpartition(".")[0])
    with pytest.raises(ValueError, match=f"^{start}.*{re.escape(message)}"):
        from_rosinality(random_state(steps=1) | {name: array})
    with pytest.raises(ValueError, match=r"got no variables, expected some such as blocks\.0\.flows\.0"):
        from_rosinality({})
