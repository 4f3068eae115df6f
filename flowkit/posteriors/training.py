"""From a simulator and a prior to a posterior: simulate, train, and simulate again where the posterior is."""

import operator
from collections.abc import Sequence
from typing import Annotated, Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from flowkit import zoo
from flowkit.bijectors import Chain, Pointwise, SoftBounds
from flowkit.conditioners import MLP, DeepSet, ObservedContext, RandomSizes, StandardizedContext
from flowkit.contract.arguments import Between0And1, Count, Positive, checked, one_of, shown, whole, words
from flowkit.distributions import Distribution
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import row_weights
from flowkit.flow.seeding import fit_in_order, seeded
from flowkit.flow.weighted import resampled
from flowkit.posteriors.nle import LikelihoodPosterior
from flowkit.posteriors.npe import Posterior
from flowkit.posteriors.observations import Observations
from flowkit.posteriors.prior import PriorLike, as_prior, of_draws
from flowkit.posteriors.simulations import Simulator, finite_pairs, given_pairs, simulated, usable
from flowkit.surjections import DequantizeColumns
from flowkit.training import Validation
from flowkit.transforms import Affine

# The share of each weight that an epoch takes away. Without it flows of few simulations memorise them; more of it keeps
# flows from narrow posteriors.
_DECAY = 0.001
_ADAPT = 10_000  # rows of sets, of random sizes
# Splines are the identity beyond `bound`. Beyond 3 a normal base has 0.3 % of its mass, which would stay far from
# narrow posteriors; beyond 5 it has next to none.
_NETWORK = {"layers": 8, "hidden": (50, 50), "bins": 10, "bound": 5.0, "residual": True, "marginals": False}


@checked
def posterior(
    simulator: Simulator | None = None,
    prior: PriorLike | None = None,
    *,
    pairs: tuple[ArrayLike, ArrayLike] | None = None,
    simulations: Annotated[int, whole(2)] = 10_000,
    rounds: Count = 1,
    observation: ArrayLike | None = None,
    method: Annotated[str, words("npe", "nle")] = "npe",
    embedding: keras.Layer | None = None,
    features: int | None = None,
    names: Sequence[str] | None = None,
    sizes: tuple[int, int] | None = None,
    missing: Annotated[str, words("drop", "model")] = "drop",
    epochs: Count = 1000,
    patience: Count = 20,
    batch_size: Count = 200,
    learning_rate: Positive = 1e-3,
    validation: Between0And1 = 0.1,
    sample_weight: ArrayLike | None = None,
    seed: int = 0,
    verbose: int = 1,
    model: str = "nsf",
    **options: Any,
) -> Posterior:
    """Return the posterior of a simulator's parameters, p(theta | x), learned from pairs.

    - `simulator`: x = simulator(theta), from n rows of parameters at once, (n, features), numpy float32, to n data,
      (n, *event).
    - `prior`: a list of one entry for each parameter, or a dict {name: entry}: (low, high), uniform, or a frozen
      distribution such as `scipy.stats.gamma(2.0)`; `scipy.stats.multivariate_normal(mean, cov)` or `multivariate_t`; a
      `flowkit.distributions.Distribution`, with `features=` the number of parameters; a `flowkit.Flow`; or a function
      n -> n rows. Draws of the posterior never leave the bounds of a prior that has any. A discrete distribution such
      as `scipy.stats.randint(1, 10)` is a prior of whole numbers. A list of words, or a dict {word: share}, is one of
      categories, which the simulator receives as 0, 1, ... in their order. With any of these the flow bounds the
      posterior from below: see `Posterior.log_prob`.
    - `pairs`: (theta, x), simulated before, in place of the first round's simulations. For one round neither simulator
      nor prior is needed then.
    - `sample_weight`: a number from 0 up for each of the `pairs`, such as prior / proposal. By it a pair counts in
      training and in held-out scores; simulations of later rounds count 1.
    - `names`: of the parameters, for draws and plots.
    - `sizes`: (low, high) learns the posteriors of data sets of low to high observations, in any order, each a draw
      given theta. The simulator returns the largest ones, (n, high) or (n, high, k). Training takes random parts of
      them, of sizes whose logarithms are uniform. NaN is a missing entry; if all k are, the observation is not there.
    - `missing`: "drop" leaves out simulations that hold NaN, as failed; "model" takes NaN as a missing entry, that
      observations may have where some simulation has it. With `sizes` it always is one.
    - `simulations`: the number of all rounds together.
    - `method`: "npe" learns p(theta | x), neural posterior estimation; "nle" learns p(x | theta), neural likelihood
      estimation, for x that are vectors and a prior of known density, see `LikelihoodPosterior`.
    - `observation`: the data of interest. With `rounds` above 1 later rounds simulate only where its posterior is.
    - `embedding`: a Keras layer that makes a vector of x; a copy of it is trained with the flow. Take
      `flowkit.conditioners.DeepSet()` for sets, `keras.layers.GRU(32)` for series, a convolution for images. It
      receives x standardised; with `sizes` or missing="model" (..., 2k), with 0 for what is missing, then a mask, and
      Keras's mask of places. With `sizes` the default is `DeepSet(32, size=True)`.
    - `epochs`: at most. After `patience` epochs without a better score on a share `validation` of the pairs, which are
      not trained on, the learning rate falls to 0 in as many more, from the best weights; at the latest in the last
      third of all. The weights with the best score are kept.
    - `verbose`: 1 prints the score of held-out pairs after epochs 1, 2, 4, 8, ... and each round; 0 prints nothing.
    - `model`, `options`: a family of `flowkit.zoo`, and arguments for it, such as `layers=8`.

    Simulations that hold NaN or infinity are counted and left out, which does not change p(theta | x) of finite data;
    for "nle" they are refused. Raises ValueError for arrays of other shapes, and for a call without what `method` and
    `rounds` need.

    Papamakarios & Murray, Fast epsilon-free Inference of Simulation Models with Bayesian Conditional Density Estimation
    (2016); Deistler, Goncalves & Macke, Truncated Proposals for Scalable and Hassle-Free Simulation-Based Inference
    (2022); Papamakarios, Sterratt & Murray, Sequential Neural Likelihood (2019).

    >>> rng = np.random.default_rng(0)
    >>> def simulator(theta):
    ...     return theta + 0.1 * rng.normal(size=theta.shape)
    >>> options = {"simulations": 200, "epochs": 2, "layers": 2, "hidden": [8], "verbose": 0}
    >>> found = posterior(simulator, {"rate": (0, 1), "size": (0, 2)}, **options)
    >>> theta = found.sample(100, np.array([0.5, 0.5]), seed=0)
    >>> theta.shape, bool((theta > 0).all() and (theta < [1, 2]).all())
    ((100, 2), True)
    """
    if features is not None and not isinstance(prior, Distribution):
        raise ValueError(
            f"posterior: got features={features} without a Distribution as prior, expected it with one alone. Leave "
            "features out."
        )
    known = None if prior is None else as_prior(prior, features)
    _refuse_missing(simulator, known, pairs, sample_weight, method, rounds, observation, embedding)
    sizes = _sizes(sizes, missing, method)
    rng = np.random.default_rng(seed)
    size, weights = simulations // rounds, None
    if pairs is None:
        theta = known.draw(size, rng)
        x = simulated(simulator, theta, sizes)
    else:
        theta, x = given_pairs(pairs, None if known is None else known.features, sizes)
        if sample_weight is not None:
            weights = row_weights(sample_weight, len(theta), "posterior's sample_weight")
            theta, x, weights = theta[weights > 0], x[weights > 0], weights[weights > 0]
        if known is None:
            known = of_draws(theta, share=None if weights is None else weights / weights.sum())
    known = known.named(names)
    kind = Posterior if method == "npe" else LikelihoodPosterior
    gaps = sizes is not None or missing == "model"
    fit = {"epochs": epochs, "patience": patience, "batch_size": batch_size, "learning_rate": learning_rate}
    found = None
    for number in range(rounds):
        if found is not None:
            more = found.proposals(size, rng)
            theta, x = np.concatenate([theta, more]), np.concatenate([x, simulated(simulator, more, sizes)])
            weights = None if weights is None else np.concatenate([weights, np.ones(size)])
        weights = None if weights is None else weights[usable(x, gaps)]
        theta, x = finite_pairs(theta, x, leave_out=method == "npe", gaps=gaps)
        data = Observations.of(x, sizes, missing)
        if observation is not None and not data.rows(observation)[1] and rounds > 1:
            raise ValueError(
                f"posterior's observation: got a batch with rounds={rounds}, expected one without a batch axis: later "
                "rounds simulate where its posterior is."
            )
        with seeded(seed + number):
            flow = _flow(theta, x, known, data, method, embedding, model, options)
        about = {"simulator": simulator, "observation": observation, "rounds": number + 1, "data": data}
        order = rng.permutation(len(x))
        count = min(max(1, round(validation * len(x))), len(x) - 1)
        held, rows = order[:count], order[count:]
        alike = held if weights is None else held[resampled(weights[held], count, rng)]
        found = kind(flow, known, theta, x, held=alike, **about)
        named = f"round {number + 1} of {rounds}"
        _train(found, rows, held, weights, seed=seed + number, name=named, verbose=verbose, **fit)
    return found


def _train(found, rows, held, weights, *, seed, name, verbose, epochs, patience, batch_size, learning_rate):
    """Train the flow of a posterior on `rows` of its pairs until the score of those `held` out stops to improve."""
    what = "p(x | theta)" if isinstance(found, LikelihoodPosterior) else "p(theta | x)"
    if verbose:
        print(f"{name}: training on {len(found.theta):,} simulations", flush=True)
    flow = found.flow
    events, context = found.events(found.theta[rows], found.x[rows])
    fixed, its_context = found.events(found.theta[held], found.data.cut(found.x[held], seed))
    if found.data.sizes is not None:  # to sizes as in training
        flow.adapt(events[:_ADAPT], found.data.context(found.data.cut(found.x[rows[:_ADAPT]], seed + 1)))
    own, others = (None, None) if weights is None else (weights[rows], weights[held])
    best = Validation(fixed, its_context, sample_weight=others, early_stopping=patience)
    batch = min(batch_size, len(rows))
    steps = -(-len(rows) // batch)
    cooling = _Cooling(best, learning_rate, epochs, min(patience, epochs // 3))
    decay = _DECAY / (learning_rate * steps)  # AdamW multiplies it by the rate in each step
    flow.compile(keras.optimizers.AdamW(learning_rate, weight_decay=decay, global_clipnorm=5.0, use_ema=True))
    done = fit_in_order(
        flow,
        events,
        context,
        sample_weight=own,
        batch_size=batch,
        seed=seed,
        epochs=epochs,
        callbacks=[best, cooling, *([_Lines(what)] if verbose else [])],
        verbose=0,
    )
    if verbose:
        score = np.inf if best.best is None else best.best
        print(
            f"{name}: {len(found.theta):,} simulations, {len(done.epoch)} epochs, "
            f"log {what} = {-score:.3f} nats on average over pairs held out"
        )


def _sizes(sizes, missing, method):
    """Return sizes of sets as (low, high), or None. Raises ValueError for others, and for a likelihood."""
    if method == "nle" and (sizes is not None or missing == "model"):
        raise ValueError(
            "posterior: got method='nle' with sizes= or missing='model', expected method='npe': a likelihood is of "
            "data of one shape without gaps."
        )
    if sizes is None:
        return None
    try:
        low, high = map(operator.index, sizes)
    except (TypeError, ValueError):
        low = high = 0
    if not 1 <= low <= high:
        raise ValueError(
            f"posterior's sizes: got {shown(sizes)}, expected whole numbers (low, high), 1 <= low <= high."
        )
    return low, high


def _refuse_missing(simulator, prior, pairs, weights, method, rounds, observation, embedding):
    """Raise ValueError for a call that lacks what its method and rounds need."""
    if pairs is None and weights is not None:
        raise ValueError(
            "posterior: got sample_weight= without pairs, expected one with it. Pass pairs=(theta, x)."
        )
    if pairs is None and (simulator is None or prior is None):
        raise ValueError(
            "posterior: got no pairs, expected a simulator and a prior. Pass both, or pairs=(theta, x)."
        )
    if rounds > 1 and (simulator is None or prior is None or observation is None):
        raise ValueError(
            f"posterior's rounds: got {rounds}, expected 1 without a simulator, a prior and an observation: later "
            "rounds simulate where the posterior of the observation is."
        )
    if method == "nle" and (prior is None or prior.density is None):
        raise ValueError(
            "posterior: got method='nle' and a prior of unknown density, expected a box, a Distribution or a Flow."
        )
    if method == "nle" and prior.whole:
        raise ValueError(
            f"posterior: got method='nle' and whole numbers or categories as parameters {prior.whole}, expected real "
            "ones, which its draws move. Take method='npe'."
        )
    if method == "nle" and embedding is not None:
        raise ValueError(
            "posterior: got method='nle' and an embedding, expected none: the likelihood is that of all data. Return "
            "summaries from the simulator, or take method='npe'."
        )


def _flow(theta, x, prior, data, method, embedding, model, options):
    """Return an untrained flow of parameters given data, or of data given parameters."""
    one_of("posterior's model", model, sorted(zoo.VECTORS))
    embedding = DeepSet(32, size=True) if embedding is None and data.sizes is not None else embedding
    if embedding is None and x.ndim > 2:
        raise ValueError(
            f"posterior: got data of shape {x.shape[1:]}, expected vectors. Take method='npe' and pass an embedding= "
            "that makes one of them: flowkit.conditioners.DeepSet() for a set, keras.layers.GRU(32) for a series, or a "
            "convolution."
        )
    event, context = (theta, data.context(x[:1])) if method == "npe" else (x, theta)
    domains, front = prior.domains if method == "npe" else None, []
    if prior.whole and domains:
        front = [DequantizeColumns(_columns(prior), conditioner=MLP((64, 64)))]
        domains = front[0].coordinates
    features = len(domains or event[0])
    embedding = _reader(embedding, data, context.shape[1:])
    if embedding is not None and embedding.trainable_weights:
        options = {"start": "standardized"} | options
    if model == "nsf":
        options = _NETWORK | options
        if features == 1:
            model = "nsf_autoregressive"  # a coupling needs two
    ends = [(domain.low, domain.high) for domain in domains or ()]
    boxed = len(ends) > 0 and bool(np.isfinite(ends).all())
    if domains and not boxed:
        options = {"domains": domains} | options
    inner = zoo.VECTORS[model](features=features, context=context.shape[-1], embedding=embedding, **options)
    layers = [*front, *([SoftBounds(ends)] if boxed else []), inner.bijector]
    if data.sizes is not None:
        # Posteriors of many observations are narrow: a scale of the context keeps all draws near, where splines alone
        # would leave a few far away.
        layers.append(Pointwise(Affine("tanh", bound=5.0), MLP((64, 64))))
    if len(layers) == 1:
        return inner
    flow = Flow(Chain(layers), inner.base, embedding=inner.embedding, name="posterior")
    flow.build({"x": (None, *event.shape[1:]), "context": (None, *context.shape[1:])})
    return flow


def _columns(prior):
    """Return each parameter as a column of `DequantizeColumns`."""
    return [
        ("category", len(prior.words[place]))
        if place in prior.words
        else ("whole", int(domain.low), int(domain.high))
        if domain.kind == "whole"
        else domain
        for place, domain in enumerate(prior.domains)
    ]


def _reader(embedding, data, shape):
    """Return the embedding of a flow: data standardised, sets cut to random sizes before, a copy of `embedding` after.

    A copy: what is passed stays as it is, so that no later round or call trains the layer of this flow.
    """
    if embedding is None and data.gaps is None:
        return None
    parts = [] if data.sizes is None else [RandomSizes(data.sizes)]
    parts += [StandardizedContext() if data.gaps is None else ObservedContext()]
    parts += [] if embedding is None else [type(embedding).from_config(embedding.get_config())]
    inside = keras.Sequential([keras.Input(shape), *parts], name="embedding")
    if embedding is not None and embedding.built:
        parts[-1].set_weights(embedding.get_weights())
    return inside


class _Cooling(keras.callbacks.Callback):
    """Let the rate fall to 0 in `last` epochs, from the best weights: the last ones, or those after `best` would stop.

    At a constant rate the weights jitter, and posteriors of many observations, which are narrow, end too wide.
    """

    def __init__(self, best, rate, epochs, last):
        super().__init__()
        self.best, self.rate, self.start, self.last = best, rate, epochs - last, last

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training:
            self.start = min(self.start, epoch + 1)
        done = epoch + 1 - self.start
        self.model.stop_training = done >= self.last
        if done == 0 and self.best.best_weights is not None:
            self.model.set_weights(self.best.best_weights)
            self.model.optimizer.iterations.assign(0)  # so that the average of the weights begins anew
        if 0 <= done < self.last:
            self.model.optimizer.learning_rate = (
                self.rate * (1 + np.cos(np.pi * (done + 0.5) / self.last)) / 2
            )

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.rate  # for a later `fit`


class _Lines(keras.callbacks.Callback):
    """Print the score of the held-out pairs after epochs 1, 2, 4, 8, ..."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        if number & epoch == 0:
            print(f"  epoch {number}: log {self.what} = {-logs['val_loss']:.3f} nats", flush=True)
