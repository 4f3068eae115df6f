"""zuko's and nflows' spline flows.

nflows' is the flow of the paper (Durkan et al., 2019): a random permutation and an LU map before each coupling. zuko's
is made by its own function, autoregressive unless `passes=2` says couplings.
"""

import copy

import nflows.distributions
import nflows.flows
import nflows.transforms
import torch
import zuko
from nflows.nn.nets import MLP
from tabular.budget import Best

ENGINE = "torch"


class Net(MLP):
    """Its couplings hand on a context, its MLP takes none; and they divide by the root of the width that it says."""

    def __init__(self, inputs, outputs, hidden):
        super().__init__((inputs,), (outputs,), hidden)
        self.hidden_features = hidden[-1]

    def forward(self, inputs, context=None):
        return super().forward(inputs)


def nflows_nsf(sizes):
    features = sizes.features

    def layer(number):
        mask = [int((i < features // 2) == bool(number % 2)) for i in range(features)]
        return [
            nflows.transforms.RandomPermutation(features),
            nflows.transforms.LULinear(features, identity_init=True),
            nflows.transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask,
                lambda inputs, outputs: Net(inputs, outputs, [sizes.width] * 2),
                num_bins=sizes.bins,
                tails="linear",
                tail_bound=5.0,
            ),
        ]

    chain = [part for number in range(sizes.layers) for part in layer(number)]
    base = nflows.distributions.StandardNormal([features])
    flow = nflows.flows.Flow(nflows.transforms.CompositeTransform(chain), base)
    return flow, flow.log_prob


def zuko_nsf(sizes, **options):
    flow = zuko.flows.NSF(
        sizes.features,
        bins=sizes.bins,
        transforms=sizes.layers,
        hidden_features=[sizes.width] * 2,
        **options,
    )
    return flow, lambda x: flow().log_prob(x)


def zuko_couplings(sizes):
    return zuko_nsf(sizes, passes=2)


def fitted(make, sizes, split, budget, seed):
    """As `on_keras.fitted`."""
    torch.manual_seed(seed)
    model, log_prob = make(sizes)
    adam = torch.optim.Adam(model.parameters(), budget.rate, eps=budget.epsilon)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, budget.rate_at)
    train, valid, test = (torch.as_tensor(part) for part in (split.train, split.valid, split.test))
    best = Best()
    for step, rows in enumerate(budget.batches(len(train), seed), start=1):
        adam.zero_grad(set_to_none=True)
        loss = -log_prob(train[torch.as_tensor(rows)]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        adam.step()
        schedule.step()
        if step % budget.every == 0:
            score = _scores(log_prob, valid).mean()
            best.offer(score, step, lambda: copy.deepcopy(model.state_dict()))
    model.load_state_dict(best.weights)
    return _scores(log_prob, test), best, sum(w.numel() for w in model.parameters() if w.requires_grad)


def _scores(log_prob, x):
    with torch.no_grad():
        return torch.cat([log_prob(part) for part in x.split(2048)]).numpy()
