"""normflows: the flows that `normflows.flows` exports, with random weights, in evaluation mode.

A flow of normflows maps latents to data. It is read as it is called: x is a latent, z its image.
"""

import normflows as nf
import normflows.flows as f
import torch
from peers.recipe import Recipe, classes
from peers.torch_weights import adapted, moved

from flowkit.contract import Domain

NAME, ENGINE, PACKAGE = "normflows", "torch", "normflows"

# A fixed point is iterated until a step is below 1e-5 (1 + |z|). Of a net with Lipschitz constant 0.9 the steps
# that are left add up to 0.9 / (1 - 0.9) of that: where |z| is 100,
FIXED_POINT = 9 * 1e-5 * 101
CIRCLE = Domain("circle", -1, 1)


def image(n):
    """Channels first."""
    return (4 * n, 2, 2)


def mlp(*sizes):
    return nf.nets.MLP(list(sizes), init_zeros=False)


def masked(n):
    mask = torch.tensor([1.0 * (i % 2) for i in range(n)])
    return moved(f.MaskedAffineFlow(mask, mlp(n, 8, n), mlp(n, 8, n)))


def affine_block(n, **given):
    return moved(f.AffineCouplingBlock(mlp(n, 8, 2 * n), **given))


def residual(n):
    """With its power iterations run to the end, as training leaves them. Its exact log-det is for two numbers."""
    net = nf.nets.LipschitzMLP([n, 8, n], init_zeros=False, lipschitz_const=0.9)
    flow = moved(f.Residual(net, brute_force=True), scale=0.05)
    with torch.no_grad():
        for _ in range(50):
            nf.utils.update_lipschitz(flow, 50)
    return flow.eval()


RECIPES = {
    "ActNorm": Recipe(lambda n: adapted(f.ActNorm((n,)), (n,))),
    "ActNorm(images)": Recipe(lambda n: adapted(f.ActNorm((4 * n, 1, 1)), image(n)), event=image),
    "AffineConstFlow": Recipe(lambda n: moved(f.AffineConstFlow((n,)))),
    "AffineConstFlow(images)": Recipe(lambda n: moved(f.AffineConstFlow((4 * n, 1, 1))), event=image),
    "AffineCouplingBlock": Recipe(lambda n: affine_block(n), event=lambda n: (2 * n,)),
    "AffineCouplingBlock(sigmoid)": Recipe(
        lambda n: affine_block(n, scale_map="sigmoid"), event=lambda n: (2 * n,)
    ),
    "AffineCouplingBlock(sigmoid_inv)": Recipe(
        lambda n: affine_block(n, scale_map="sigmoid_inv"), event=lambda n: (2 * n,)
    ),
    "AffineCouplingBlock(additive)": Recipe(
        lambda n: moved(f.AffineCouplingBlock(mlp(n, 8, n), scale=False)), event=lambda n: (2 * n,)
    ),
    "AffineCouplingBlock(channel_inv)": Recipe(
        lambda n: affine_block(n, split_mode="channel_inv"), event=lambda n: (2 * n,)
    ),
    "AutoregressiveRationalQuadraticSpline": Recipe(
        lambda n: moved(f.AutoregressiveRationalQuadraticSpline(n, 1, 8))
    ),
    "AutoregressiveRationalQuadraticSpline(permute_mask)": Recipe(
        lambda n: moved(f.AutoregressiveRationalQuadraticSpline(n, 1, 8, permute_mask=True))
    ),
    "BatchNorm": Recipe(lambda n: f.BatchNorm(), has_inverse=False),
    "CircularAutoregressiveRationalQuadraticSpline": Recipe(
        lambda n: moved(
            f.CircularAutoregressiveRationalQuadraticSpline(n, 1, 8, ind_circ=range(n), tail_bound=1)
        ),
        domain=CIRCLE,
        codomain=CIRCLE,
    ),
    "CircularCoupledRationalQuadraticSpline": Recipe(
        lambda n: moved(f.CircularCoupledRationalQuadraticSpline(n, 1, 8, ind_circ=range(n), tail_bound=1)),
        domain=CIRCLE,
        codomain=CIRCLE,
        sizes=(3, 2),
    ),
    "Composite": Recipe(lambda n: f.Composite([masked(n), f.LULinearPermute(n)])),
    "CoupledRationalQuadraticSpline": Recipe(
        lambda n: moved(f.CoupledRationalQuadraticSpline(n, 1, 8)), sizes=(3, 2)
    ),
    "CoupledRationalQuadraticSpline(reverse_mask)": Recipe(
        lambda n: moved(f.CoupledRationalQuadraticSpline(n, 1, 8, reverse_mask=True)), sizes=(3, 2)
    ),
    "GlowBlock": Recipe(lambda n: adapted(f.GlowBlock(4 * n, 8), image(n)), event=image),
    "GlowBlock(checkerboard)": Recipe(
        lambda n: adapted(f.GlowBlock(4 * n, 8, split_mode="checkerboard"), image(n)), event=image
    ),
    "GlowBlock(plain W)": Recipe(
        lambda n: adapted(f.GlowBlock(4 * n, 8, use_lu=False), image(n)), event=image
    ),
    "Invertible1x1Conv": Recipe(lambda n: moved(f.Invertible1x1Conv(4 * n)), event=image),
    "Invertible1x1Conv(use_lu)": Recipe(
        lambda n: moved(f.Invertible1x1Conv(4 * n, use_lu=True)), event=image
    ),
    "InvertibleAffine": Recipe(lambda n: moved(f.InvertibleAffine(n))),
    "InvertibleAffine(plain W)": Recipe(lambda n: moved(f.InvertibleAffine(n, use_lu=False))),
    "LULinearPermute": Recipe(lambda n: moved(f.LULinearPermute(n))),
    "MaskedAffineAutoregressive": Recipe(lambda n: moved(f.MaskedAffineAutoregressive(n, 8, num_blocks=1))),
    "MaskedAffineFlow": Recipe(masked),
    "PeriodicShift": Recipe(
        lambda n: f.PeriodicShift(list(range(n)), bound=1.0, shift=0.3), domain=CIRCLE, codomain=CIRCLE
    ),
    "PeriodicWrap": Recipe(
        lambda n: f.PeriodicWrap(list(range(n)), bound=1.0), domain=CIRCLE, codomain=CIRCLE
    ),
    "Permute": Recipe(lambda n: f.Permute(n)),
    "Permute(swap)": Recipe(lambda n: f.Permute(n, mode="swap")),
    "Planar": Recipe(lambda n: moved(f.Planar((n,))), has_inverse=False),
    "Planar(leaky_relu)": Recipe(lambda n: moved(f.Planar((n,), act="leaky_relu"))),
    "Radial": Recipe(lambda n: moved(f.Radial((n,))), has_inverse=False),
    "Residual(brute_force)": Recipe(residual, inverse="iterative", sizes=(2,), tolerance=FIXED_POINT),
    "Reverse": Recipe(lambda n: f.Reverse(masked(n))),
    "Squeeze": Recipe(lambda n: f.Squeeze(), event=image),
}
NO_RECIPE = {
    "AffineCoupling": "maps a list of two tensors; AffineCouplingBlock is checked",
    "CCAffineConst": "reads a class as its context, which an adapted bijector is not given",
    "HamiltonianMonteCarlo": "stochastic",
    "Merge": "maps a list of two tensors; AffineCouplingBlock is checked",
    "MetropolisHastings": "stochastic",
    "Split": "maps onto a list of two tensors; AffineCouplingBlock is checked",
}


def exports():
    return classes(f, f.Flow)
