"""Glow as published, evaluated in float64 numpy from variables under the published names, and such variables.

Written from the specification, without a call into flowkit (but for `encode_and_score`). NHWC, kernels HWIO.
"""

import itertools

import numpy as np
from keras import ops


def encode_and_score(flow, x, labels=None):
    """(latents, log-density) of a flow on continuous inputs: what `encode` and `log_prob` compute, in one
    pass and without compiling, which is what the many small flows of these tests would mostly do."""
    z, log_det = flow.bijector(ops.convert_to_tensor(x), context=labels)
    return ops.convert_to_numpy(z), ops.convert_to_numpy(flow.base.log_prob(z) + log_det)


def squeeze(x):
    """New channel = c 4 + i 2 + j."""
    n, h, w, c = x.shape
    z = np.zeros((n, h // 2, w // 2, 4 * c))
    for i, j in itertools.product(range(2), range(2)):
        z[..., i * 2 + j :: 4] = x[:, i::2, j::2]
    return z


def padded(x, padding, fill=0.0):
    pairs = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(x, pairs, constant_values=fill)


def valid(x, kernel):
    """A convolution without padding."""
    rows, columns = kernel.shape[:2]
    h, w = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    taps = itertools.product(range(rows), range(columns))
    return sum(x[:, i : i + h, j : j + w] @ kernel[i, j] for i, j in taps)


def conv(x, kernel):
    """Zeros around x, and one channel more: 1 on that ring, 0 inside; none for 1x1."""
    if kernel.shape[:2] == (1, 1):
        return valid(x, kernel)
    ring = padded(np.zeros((*x.shape[:3], 1)), 1, fill=1.0)
    return valid(np.concatenate([padded(x, 1), ring], axis=-1), kernel)


def gaussian(x, mean, logs):
    return (-0.5 * (np.log(2 * np.pi) + 2 * logs + (x - mean) ** 2 / np.exp(2 * logs))).sum((1, 2, 3))


class Published:
    """`encode(x, labels)` -> (latents, log-density) for x in [-0.5, 0.5]."""

    def __init__(self, variables):
        self.v = {name: np.asarray(value, "float64") for name, value in variables.items()}

    def has(self, prefix):
        return any(name.startswith(prefix) for name in self.v)

    def actnorm(self, name, x):
        return (x + self.v[f"{name}/actnorm_center/b"]) * np.exp(3 * self.v[f"{name}/actnorm_scale/logs"])

    def zeros(self, name, x):
        return (conv(x, self.v[f"{name}/W"]) + self.v[f"{name}/b"]) * np.exp(3 * self.v[f"{name}/logs"])

    def network(self, name, x):
        for layer in ("l_1", "l_2"):
            x = np.maximum(self.actnorm(f"{name}/{layer}", conv(x, self.v[f"{name}/{layer}/W"])), 0)
        return self.zeros(f"{name}/l_last", x)

    def step(self, name, x):
        places, half = x.shape[1] * x.shape[2], x.shape[-1] // 2
        log_det = places * 3 * self.v[f"{name}/actnorm_scale/logs"].sum()
        x = self.actnorm(name, x)
        if self.has(f"{name}/invconv"):
            matrix = self.v[f"{name}/invconv/W"]
            x = x @ matrix
            log_det += places * np.linalg.slogdet(matrix)[1]
        elif self.has(f"{name}/shuffle"):
            x = x[..., self.v[f"{name}/shuffle/indices"].astype(int)]
        else:
            x = x[..., ::-1]
        one, two = x[..., :half], x[..., half:]
        h = self.network(f"{name}/f1", one)
        if h.shape[-1] == half:
            return np.concatenate([one, two + h], axis=-1), log_det
        shift, scale = h[..., 0::2], 1 / (1 + np.exp(-(h[..., 1::2] + 2)))
        return np.concatenate([one, (two + shift) * scale], -1), log_det + np.log(scale).sum((1, 2, 3))

    def encode(self, x, labels=None):
        levels = 1 + max(int(name.split("/")[1]) for name in self.v if name.split("/")[1].isdigit())
        total, latents, x = 0.0, [], squeeze(x)
        for level in range(levels):
            for step in itertools.count():
                if not self.has(f"model/{level}/{step}/"):
                    break
                x, log_det = self.step(f"model/{level}/{step}", x)
                total = total + log_det
            if level < levels - 1:
                half = x.shape[-1] // 2
                x, out = x[..., :half], x[..., half:]
                h = self.zeros(f"model/pool{level}/conv", x)
                mean, logs = h[..., 0::2], h[..., 1::2]
                total = total + gaussian(out, mean, logs)
                latents.append((out - mean) / np.exp(logs))
                x = squeeze(x)
        c = x.shape[-1]
        h = np.zeros((*x.shape[:3], 2 * c))
        if self.has("model/prior/p/"):
            h = self.zeros("model/prior/p", h)
        if labels is not None:
            y = (np.eye(len(self.v["model/prior/y_emb/W"]))[labels] @ self.v["model/prior/y_emb/W"]
                 + self.v["model/prior/y_emb/b"]) * np.exp(3 * self.v["model/prior/y_emb/logs"])  # fmt: skip
            h = h + y[:, None, None]
        mean, logs = h[..., :c], h[..., c:]
        latents.append((x - mean) / np.exp(logs))
        return np.concatenate([z.reshape(len(z), -1) for z in latents], 1), total + gaussian(x, mean, logs)


def random_checkpoint(
    *,
    levels=2,
    steps=2,
    width=8,
    channels=2,
    coupling="affine",
    permutation="conv1x1",
    learn_top=True,
    classes=None,
):
    """Variables as if trained, under the published names and in the published shapes."""
    rng = np.random.default_rng(0)
    variables = {}

    def add(name, *shape, scale=0.1):
        variables[f"model/{name}"] = rng.normal(0, scale, shape).astype("float32")

    def add_zeros(name, inputs, outputs):
        add(f"{name}/W", 3, 3, inputs + 1, outputs)
        add(f"{name}/b", 1, 1, 1, outputs)
        add(f"{name}/logs", 1, outputs)

    def add_actnorm(name, size):
        add(f"{name}/actnorm_center/b", 1, 1, 1, size)
        add(f"{name}/actnorm_scale/logs", 1, 1, 1, size)

    for level in range(levels):
        c = channels * 4 * 2**level
        for step in range(steps):
            name = f"{level}/{step}"
            add_actnorm(name, c)
            if permutation == "conv1x1":
                add(f"{name}/invconv/W", c, c)
                variables[f"model/{name}/invconv/W"] += np.linalg.qr(rng.normal(size=(c, c)))[0].astype(
                    "float32"
                )
            elif permutation == "shuffle":
                indices = rng.permutation(c).astype("int32")
                variables[f"model/{name}/shuffle/indices"] = indices
                variables[f"model/{name}/shuffle/indices_inverse"] = np.argsort(indices).astype("int32")
            add(f"{name}/f1/l_1/W", 3, 3, c // 2 + 1, width)
            add_actnorm(f"{name}/f1/l_1", width)
            add(f"{name}/f1/l_2/W", 1, 1, width, width)
            add_actnorm(f"{name}/f1/l_2", width)
            add_zeros(f"{name}/f1/l_last", width, c if coupling == "affine" else c // 2)
        if level < levels - 1:
            add_zeros(f"pool{level}/conv", c // 2, c)
    if learn_top:
        add_zeros("prior/p", 2 * c, 2 * c)
    if classes:
        add("prior/y_emb/W", classes, 2 * c)
        add("prior/y_emb/b", 1, 2 * c)
        add("prior/y_emb/logs", 1, 2 * c)
        add("classifier/W", c, classes)  # trained beside the model
        add("classifier/b", 1, classes)
        add("classifier/logs", 1, classes)
    return variables
