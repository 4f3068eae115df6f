"""Flows as distributions of PyTorch and NumPyro, used by those libraries themselves."""

import numpy as np
import pytest

import flowkit
from flowkit.bijectors import ActNorm, Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.data import Dequantize
from flowkit.engines import engine

pytestmark = pytest.mark.two_engines

on_torch = pytest.mark.skipif(engine.name != "torch", reason="a distribution of PyTorch")
on_jax = pytest.mark.skipif(engine.name != "jax", reason="a distribution of NumPyro")


def normal(mean, log_scale):
    """The flow of N(mean, exp(log_scale)^2), entry by entry."""
    flow = flowkit.Flow(Chain([Shift(), Scale()]))
    flow.build((None, len(mean)))
    for weight in flow.trainable_variables:
        weight.assign(-np.asarray(mean if "shift" in weight.path else log_scale, "float32"))
    return flow


def conditional(perturb):
    flow = flowkit.Flow(Chain([Coupling(MLP([8], context="required")), Shift()]))
    flow.build({"x": (None, 2), "context": (None, 3)})
    return perturb(flow)


CONTEXT = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


# PyTorch


@on_torch
def test_shapes_and_densities_on_torch(perturb, monkeypatch):
    import torch

    # `torch.compile`, which other tests call, turns it off for good.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)

    flow = flowkit.Flow(Coupling(MLP([8])))
    flow.build((None, 2))
    q = flowkit.bridges.torch_distribution(perturb(flow))
    assert isinstance(q, torch.distributions.Distribution)
    assert (q.batch_shape, q.event_shape) == ((), (2,))
    x = q.rsample((3, 5))
    assert x.shape == (3, 5, 2)
    np.testing.assert_allclose(
        q.log_prob(x).detach().reshape(15), flow.log_prob(x.detach().numpy().reshape(15, 2)), rtol=1e-5
    )
    assert q.sample().shape == (2,)
    assert q.sample((0,)).shape == (0, 2)
    assert not q.sample((2,)).requires_grad
    wide = q.expand((7, 3))
    assert wide.sample((2,)).shape == (2, 7, 3, 2)
    assert wide.log_prob(torch.zeros(2)).shape == (7, 3)
    torch.manual_seed(0)
    first = q.sample((4,))
    torch.manual_seed(0)
    assert torch.equal(q.sample((4,)), first)
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.tensor([0.0, np.nan]))
    assert "event_shape=[2]" in repr(q)


@on_torch
def test_a_context_is_the_batch_on_torch(perturb):
    import torch

    flow, context = conditional(perturb), torch.tensor(CONTEXT, requires_grad=True)
    q = flowkit.bridges.torch_distribution(flow, context)
    assert (q.batch_shape, q.rsample((5,)).shape) == ((4,), (5, 4, 2))
    x = torch.randn(5, 4, 2)
    expected = [flow.log_prob(part.numpy(), CONTEXT) for part in x]
    np.testing.assert_allclose(q.log_prob(x).detach(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        q.expand((6, 4)).log_prob(x[:1].expand(6, 4, 2))[3].detach(), expected[0], rtol=1e-4
    )
    q.log_prob(x).sum().backward()
    assert (context.grad != 0).any()
    assert all(weight.grad is not None for weight in flow.parameters() if weight.requires_grad)
    plain = flowkit.bridges.torch_distribution(flow, CONTEXT.astype("float64"))
    np.testing.assert_allclose(plain.log_prob(x).detach(), expected, rtol=1e-4, atol=1e-5)


@on_torch
def test_divergences_of_normals_are_found_by_samples():
    import torch

    flow = normal([1.0, -1.0], [0.0, 0.5])
    q = flowkit.bridges.torch_distribution(flow)
    same = torch.distributions.Independent(
        torch.distributions.Normal(torch.tensor([1.0, -1.0]), torch.tensor([1.0, np.exp(0.5)])), 1
    )
    other = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    kl = torch.distributions.kl_divergence
    for pair in ((q, same), (same, q), (q, q)):
        assert float(kl(*pair).detach()) == pytest.approx(0.0, abs=1e-5)
    assert float(kl(q, other).detach()) == pytest.approx(float(kl(same, other)), abs=0.25)
    kl(q, other).backward()
    assert all(weight.grad is not None for weight in flow.parameters() if weight.requires_grad)


@on_torch
def test_the_support_is_the_domain_on_torch():
    import torch

    flow = flowkit.zoo.nsf(features=3, layers=1, hidden=[8], domains=[(0, 1), "positive", "real"]).adapt()
    q = flowkit.bridges.torch_distribution(flow)
    assert q.support.check(q.sample((20,))).all()
    assert not q.support.check(torch.tensor([2.0, 1.0, 0.0]))
    x = torch.distributions.biject_to(q.support)(torch.randn(20, 3))
    assert torch.isfinite(q.log_prob(x)).all()


@on_torch
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_guide_of_pyro_learns():
    pyro = pytest.importorskip("pyro")
    from pyro.contrib.zuko import ZukoToPyro

    flow = normal([0.0, 0.0], [0.0, 0.0])

    def model():
        import torch

        pyro.sample("x", pyro.distributions.Normal(torch.tensor([2.0, -1.0]), 0.5).to_event(1))

    def guide():
        pyro.module("flow", flow)
        pyro.sample("x", ZukoToPyro(flowkit.bridges.torch_distribution(flow)))

    elbo = pyro.infer.Trace_ELBO(num_particles=32, vectorize_particles=True)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    for _ in range(150):
        svi.step()
    x = flow.sample(2000, seed=0)
    np.testing.assert_allclose(x.mean(0), [2.0, -1.0], atol=0.1)
    np.testing.assert_allclose(x.std(0), 0.5, atol=0.1)


# NumPyro


@on_jax
def test_shapes_and_densities_on_jax(perturb):
    dist = pytest.importorskip("numpyro.distributions")
    import jax

    flow = conditional(perturb)
    q = flowkit.bridges.numpyro_distribution(flow, CONTEXT)
    assert isinstance(q, dist.Distribution)
    assert (q.batch_shape, q.event_shape) == ((4,), (2,))
    key = jax.random.key(0)
    x = q.sample(key, (5,))
    assert x.shape == (5, 4, 2)
    # A compiled program rounds in another order.
    np.testing.assert_allclose(x, jax.jit(lambda key: q.sample(key, (5,)))(key), rtol=1e-5, atol=1e-6)
    assert (x != q.sample(jax.random.key(1), (5,))).any()
    expected = [flow.log_prob(np.asarray(part), CONTEXT) for part in x]
    np.testing.assert_allclose(q.log_prob(x), expected, rtol=1e-4, atol=1e-5)
    assert q.log_prob(x[0, 0]).shape == (4,)
    assert q.expand((3, 4)).sample(key).shape == (3, 4, 2)

    def of(weights, context):
        return flowkit.bridges.numpyro_distribution(flow, context, weights=weights).log_prob(x).sum()

    weights = [variable.value for variable in flow.trainable_variables]
    of_weights, of_context = jax.jit(jax.grad(of, argnums=(0, 1)))(weights, CONTEXT)
    assert (np.asarray(of_context) != 0).any()
    assert any((np.asarray(one) != 0).any() for one in of_weights)
    with pytest.raises(ValueError, match=r"got 1 weights, expected \d"):
        flowkit.bridges.numpyro_distribution(flow, CONTEXT, weights=weights[:1])


@on_jax
def test_nuts_finds_the_moments_of_a_flow():
    numpyro = pytest.importorskip("numpyro")
    import jax
    from numpyro.diagnostics import summary

    q = flowkit.bridges.numpyro_distribution(normal([1.0, -1.0], [0.0, 0.7]))
    kernel = numpyro.infer.NUTS(lambda: numpyro.sample("x", q))
    chains = numpyro.infer.MCMC(
        kernel, num_warmup=300, num_samples=1000, num_chains=4, chain_method="vectorized", progress_bar=False
    )
    chains.run(jax.random.key(0))
    found = summary(chains.get_samples(group_by_chain=True))["x"]
    assert found["r_hat"].max() < 1.01
    np.testing.assert_allclose(found["mean"], [1.0, -1.0], atol=0.15)
    np.testing.assert_allclose(found["std"], np.exp([0.0, 0.7]), rtol=0.1)


@on_jax
def test_the_support_is_the_domain_on_jax():
    pytest.importorskip("numpyro")
    import jax
    from numpyro.distributions import biject_to

    flow = flowkit.zoo.nsf(features=3, layers=1, hidden=[8], domains=[(0, 1), "positive", "real"]).adapt()
    q = flowkit.bridges.numpyro_distribution(flow)
    x = biject_to(q.support)(jax.random.normal(jax.random.key(0), (20, 3)))
    assert q.support(x).all()
    assert not q.support(np.array([2.0, 1.0, 0.0]))
    assert np.isfinite(q.log_prob(x)).all()


@on_jax
@pytest.mark.long
def test_a_guide_of_numpyro_learns():
    numpyro = pytest.importorskip("numpyro")
    import jax

    flow = normal([0.0, 0.0], [0.0, 0.0])

    def model():
        numpyro.sample("x", numpyro.distributions.Normal(np.array([2.0, -1.0]), 0.5).to_event(1))

    def guide():
        weights = numpyro.param("flow", [variable.value for variable in flow.trainable_variables])
        numpyro.sample("x", flowkit.bridges.numpyro_distribution(flow, weights=weights))

    elbo = numpyro.infer.Trace_ELBO(num_particles=32)
    svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(0.05), elbo)
    found = svi.run(jax.random.key(0), 200, progress_bar=False).params["flow"]
    for variable, value in zip(flow.trainable_variables, found, strict=True):
        variable.assign(value)
    x = flow.sample(2000, seed=0)
    np.testing.assert_allclose(x.mean(0), [2.0, -1.0], atol=0.1)
    np.testing.assert_allclose(x.std(0), 0.5, atol=0.1)


# A key of JAX


@on_jax
def test_draws_follow_a_key_of_jax(perturb):
    import jax

    flow = normal([0.0], [0.0])
    draw = jax.jit(lambda key: flow.draw(4, seed=key)[0])
    first, again, other = (draw(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    np.testing.assert_allclose(flow.draw(4, seed=jax.random.PRNGKey(0))[0], first, rtol=1e-6)


# What cannot be one


@pytest.mark.skipif(engine.name not in ("torch", "jax"), reason="there is no bridge")
def test_what_cannot_be_a_distribution_is_named(perturb):
    here, there = "torch_distribution", "numpyro_distribution"
    if engine.name == "jax":
        pytest.importorskip("numpyro")
        here, there = there, here
    make = getattr(flowkit.bridges, here)
    with pytest.raises(RuntimeError, match=f"{there}: got the backend '{engine.name}', expected"):
        getattr(flowkit.bridges, there)(normal([0.0], [0.0]))
    with pytest.raises(TypeError, match="got Shift, expected a flowkit"):
        make(Shift())
    with pytest.raises(ContractError, match="build"):
        make(flowkit.Flow(Shift()))
    waiting = flowkit.Flow(ActNorm())
    waiting.build((None, 2))
    with pytest.raises(ContractError, match="adapt"):
        make(waiting)
    with pytest.raises(ContractError, match="context"):
        make(conditional(perturb))
    with pytest.raises(ContractError, match="finite numbers"):
        make(conditional(perturb), CONTEXT * np.nan)
    whole = flowkit.Flow(Shift(), dequantize=Dequantize())
    whole.build((None, 2))
    with pytest.raises(ValueError, match="log_prob is 'bound', expected one that is exact"):
        make(whole)
    with pytest.raises(ContractError, match="neither its bijector nor its base reads one"):
        make(normal([0.0], [0.0]), CONTEXT)
