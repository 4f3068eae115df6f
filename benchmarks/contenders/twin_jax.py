"""flowkit's flows written out by hand on JAX: no layers, no checks, the same numbers from the same weights.

What a flow costs beside its networks, if nothing stands between it and the engine. Weights of alike steps are stacked;
what follows from them alone is derived for all at once, and once for a call; steps follow one another in `lax.scan`, on
CPU written out, where XLA runs convolutions in a loop forty times slower. Data stay on the device, which flowkit's come
from and go back to. Its weights are its own, so that its process holds nothing of Keras; `tests/test_twin.py` gives it
flowkit's, and finds the same densities, samples and training step.
"""

import jax
import jax.numpy as jnp
import numpy as np
from contenders.on_jax import OnJax
from measuring.work import network_inputs

PACKAGE = "jax"


def images(work, x):
    rng = np.random.default_rng(0)
    shapes = [(height, 2 * half) for height, _, half in network_inputs(work)]
    eyes = [np.stack([np.eye(c)[rng.permutation(c)] for _ in range(work["steps"])]) for _, c in shapes]
    fixed = [(array(eye), jnp.ones(eye.shape[:2])) for eye in eyes]
    return contender(Glow(work, fixed), drawn(glow_shapes(work), rng), work, x)


def vectors(work, x):
    return contender(Couplings(work), drawn(couplings_shapes(work), np.random.default_rng(0)), work, x)


def contender(twin, weights, work, x):
    """The twin with these weights, as it is measured."""
    if work["precision"] == "bfloat16":
        raise NotImplementedError("has no networks in bfloat16")

    def sample(weights, key, count):
        return twin.decode(weights, jax.random.normal(key, (count, x[0].size)))

    def loss(weights, x):
        return -twin.log_prob(weights, x).mean()

    return OnJax(work, weights, array(x), loss, twin.log_prob, sample)


class Couplings:
    """Affine couplings on vectors, which keep one half of the entries and then the other."""

    def __init__(self, work):
        if work["features"] % 2:
            raise NotImplementedError("has halves of one size alone")
        self.layers = work["layers"]

    def log_prob(self, weights, x):
        def step(halves, net):
            (kept, moved), (shift, s) = halves, network(net, halves[0])
            return ((moved + shift) * jax.nn.sigmoid(s), kept), jax.nn.log_sigmoid(s).sum(-1)

        halves, log_dets = in_turn(step, tuple(jnp.split(x, 2, -1)), weights)
        return log_dets.sum(0) + normal_log_prob(jnp.concatenate(halves, -1))

    def decode(self, weights, z):
        def step(halves, net):
            moved, kept = halves
            shift, s = network(net, kept)
            return (kept, moved / jax.nn.sigmoid(s) - shift), 0.0

        halves = jnp.split(z, 2, -1)  # of which the one that the last layer changed comes first
        halves = tuple(halves if self.layers % 2 == 0 else halves[::-1])
        halves, _ = in_turn(step, halves, weights, back=True)
        return jnp.concatenate(halves, -1)


def network(layers, x):
    *hidden, (kernel, bias) = layers
    for k, b in hidden:
        x = jax.nn.relu(x @ k + b)
    shift, s = jnp.split(x @ kernel + bias, 2, -1)
    return shift, s + 2


class Glow:
    """`flowkit.zoo.glow` of continuous images. `fixed`: for each level its permutations and its signs, stacked."""

    def __init__(self, work, fixed):
        self.shapes = [(height, 2 * half) for height, _, half in network_inputs(work)]
        self.fixed = [tuple(map(array, pair)) for pair in fixed]
        self.rings = [array(ring(height)) for height, _ in self.shapes]

    def log_prob(self, weights, x):
        def step(x, part):
            x1, x2 = jnp.split((x + part["shift"]) @ part["matrix"], 2, -1)
            shift, s = convolutions(part["net"], x1)
            x = jnp.concatenate([x1, (x2 + shift) * jax.nn.sigmoid(s)], -1)
            return x, jax.nn.log_sigmoid(s).sum((1, 2, 3))

        total = 0.0
        for level, last in self.levels():
            part, log_det = self.derived(weights, level)
            x, log_dets = in_turn(step, squeezed(x), part)
            x, z = (x, x) if last else jnp.split(x, 2, -1)
            mean, logs = self.prior(weights, level, x)
            eps = (z - mean) * jnp.exp(-logs)
            # One prior for all samples, or one for each.
            total = total + log_det + log_dets.sum(0) - logs.sum((1, 2, 3)) + normal_log_prob(eps)
        return total

    def decode(self, weights, z):
        def step(x, part):
            x1, x2 = jnp.split(x, 2, -1)
            shift, s = convolutions(part["net"], x1)
            x = jnp.concatenate([x1, x2 / jax.nn.sigmoid(s) - shift], -1)
            return x @ part["matrix"] - part["shift"], 0.0

        sizes = [
            h * h * c // (1 if last else 2)
            for (level, last) in self.levels()
            for h, c in [self.shapes[level]]
        ]
        parts, x = jnp.split(z, np.cumsum(sizes)[:-1], -1), None
        for level, last in reversed(list(self.levels())):
            height, channels = self.shapes[level]
            z = parts[level].reshape(-1, height, height, channels if last else channels // 2)
            mean, logs = self.prior(weights, level, x)
            z = z * jnp.exp(logs) + mean
            x, _ = in_turn(
                step,
                z if last else jnp.concatenate([x, z], -1),
                self.derived(weights, level, back=True)[0],
                back=True,
            )
            x = unsqueezed(x)
        return x

    def levels(self):
        return [(level, level == len(self.shapes) - 1) for level in range(len(self.shapes))]

    def derived(self, weights, level, back=False):
        """What a level's steps are made of, stacked; and their log-det, as far as it is the same for all images."""
        q, (permutation, sign) = weights["levels"][level], self.fixed[level]
        height, channels = self.shapes[level]
        log_scale = 3 * q["logs"]
        lower = jnp.tril(q["lower"], -1) + jnp.eye(channels)
        upper = jnp.triu(q["upper"], 1) + jax.vmap(jnp.diag)(sign * jnp.exp(q["log_s"]))
        if back:
            half = jax.lax.linalg.triangular_solve(
                lower, jnp.swapaxes(permutation, 1, 2), left_side=True, lower=True
            )
            matrix = jax.lax.linalg.triangular_solve(upper, half, left_side=True, lower=False)
            matrix = matrix * jnp.exp(-log_scale)[:, None, :]
        else:
            matrix = jnp.exp(log_scale)[:, :, None] * (permutation @ (lower @ upper))
        first, second, last = q["net"]
        kernel, scale = second[0][..., 0, 0, :, :], jnp.exp(3 * second[2])
        second = kernel * scale[:, None, :], second[1] * scale
        first, last = (scaled(layer, self.rings[level]) for layer in (first, last))
        net = first, second, tuple(map(apart, last))
        log_det = height**2 * (log_scale.sum() + q["log_s"].sum())
        return {"shift": q["shift"], "matrix": matrix, "net": net}, log_det

    def prior(self, weights, level, kept):
        """(mean, logs) of what leaves a level, by what stays; of the last one, of nothing."""
        kernel, bias = scaled(weights["priors"][level], self.rings[level])
        if level == len(self.shapes) - 1:
            return jnp.split(bias[None], 2, -1)
        return jnp.split(conv(kept, apart(kernel)) + apart(bias), 2, -1)


def convolutions(net, x):
    (k1, b1), (k2, b2), (k3, b3) = net
    h = jax.nn.relu(conv(x, k1) + b1)
    shift, s = jnp.split(conv(jax.nn.relu(h @ k2 + b2), k3) + b3, 2, -1)
    return shift, s + 2


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def scaled(layer, ring):
    """Kernel and bias, a map, of a `ScaledConv` with its (W, b, logs), alone or stacked."""
    kernel, bias, logs = layer
    scale = jnp.exp(3 * logs)
    kernel = kernel * scale[..., None, None, None, :]
    edge = kernel[..., -1, :].reshape(*kernel.shape[:-4], 9, -1)
    bias = (bias * scale)[..., None, None, :]
    return kernel[..., :-1, :], jnp.einsum("hwt,...tf->...hwf", ring, edge) + bias


def ring(size):
    """For each place which taps of a 3x3 kernel fall beside the image: (size, size, 9) of 0 and 1."""
    at = np.arange(size)[:, None] + np.arange(-1, 2)
    beside = (at < 0) | (at >= size)
    return (beside[:, None, :, None] | beside[None, :, None, :]).reshape(size, size, 9).astype("float32")


def apart(weights):
    """Of answers that come in pairs all first ones, then all second ones."""
    pairs = weights.reshape(*weights.shape[:-1], -1, 2)
    return jnp.swapaxes(pairs, -1, -2).reshape(weights.shape)


def squeezed(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def unsqueezed(x):
    b, h, w, c = x.shape
    return x.reshape(b, h, w, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


def in_turn(step, x, stacked, back=False):
    """`step(x, part)` with one part of what is stacked after another: the last x, and all second answers, stacked."""
    if jax.default_backend() != "cpu":
        return jax.lax.scan(step, x, stacked, reverse=back)
    count, answers = len(jax.tree.leaves(stacked)[0]), []
    for i in reversed(range(count)) if back else range(count):
        x, answer = step(x, jax.tree.map(lambda a, i=i: a[i], stacked))
        answers.append(answer)
    return x, jnp.stack(answers)


def normal_log_prob(z):
    z = z.reshape(len(z), -1)
    return -0.5 * (z * z).sum(-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)


# Weights: a tree of shapes, of which the benchmark draws numbers, and which a test fills with flowkit's.


def couplings_shapes(work):
    half, width, count = work["features"] // 2, work["width"], work["layers"]
    sizes = [(half, width), (width, width), (width, 2 * half)]
    return [((count, *size), (count, size[-1])) for size in sizes]


def glow_shapes(work):
    width, count = work["width"], work["steps"]

    def layer(size, features, channels, *stacked):
        return (*stacked, size, size, channels, features), (*stacked, features), (*stacked, features)

    levels, priors, shapes = [], [], network_inputs(work)
    for level, (_, _, half) in enumerate(shapes):
        c = 2 * half
        net = layer(3, width, half + 1, count), layer(1, width, width, count), layer(3, c, width + 1, count)
        vector, matrix = (count, c), (count, c, c)
        named = {"shift": vector, "logs": vector, "lower": matrix, "upper": matrix, "log_s": vector}
        levels.append({**named, "net": net})
        last = level == len(shapes) - 1
        priors.append(layer(3, 2 * c, 2 * c + 1) if last else layer(3, c, half + 1))
    return {"levels": levels, "priors": priors}


def is_shape(tree):
    return isinstance(tree, tuple) and all(isinstance(size, int) for size in tree)


def drawn(shapes, rng):
    return jax.tree.map(lambda shape: array(0.02 * rng.normal(size=shape)), shapes, is_leaf=is_shape)


def array(a):
    return jnp.asarray(np.asarray(a, "float32"))
