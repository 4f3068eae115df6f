"""Check a whole flow: training, densities, latents, samples, files and log-dets."""

import copy
import functools
import json
import math
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from flowkit.bijectors import Continuous
from flowkit.bijectors.solvers import Solver
from flowkit.contract.arguments import one_of
from flowkit.contract.inside import layers_inside
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.flow.packing import pack
from flowkit.objectives import FlowMatching, MaximumLikelihood, ReverseKL
from flowkit.testing.checker import ESSENTIAL, check_bijector
from flowkit.testing.inputs import Inputs, each
from flowkit.testing.judging import ask_unless, judge, require, verdict
from flowkit.testing.strategies import DrawnFlow
from flowkit.testing.subject import nudged, randomize, recreate
from flowkit.testing.tolerances import ROUNDINGS, STEPS, WEIGHT_STEP, measure

AFTER_ADAPT = 0.05
"""The scale by which weights move once more after `adapt`, so that no statistic is just that of the data."""

ROWS = 6
"""The number of rows of data: what JAX compiles once is used for all."""


def check_flow(drawn: DrawnFlow, checks: Sequence[str] | None = None) -> dict[str, str]:
    """Run checks of a whole flow. Return "kept", or the reason why a check did not run, for each.

    Weights are adapted and moved off their start first. `checks` are names in `CHECKS`; None is all but
    "compiled". Answers must be finite, and agree up to rounding, which is measured as by `check_bijector`.

    Raises ContractError with the check, the expected and the received value, or what the flow itself raises; either has
    a note with the check and the flow.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import ActNorm
    >>> check_flow(DrawnFlow(lambda: Flow(ActNorm()), (2,)), ["density", "latents"])
    {'density': 'kept', 'latents': 'kept'}
    """
    if not isinstance(drawn, DrawnFlow):
        raise TypeError(
            f"check_flow: got {type(drawn).__name__}, expected a DrawnFlow. Pass DrawnFlow(make, event), where make() "
            "returns a flow and event is the shape of a row."
        )
    checks = list(CHECKS)[:-1] if checks is None else list(checks)
    for name in checks:
        one_of("check_flow's checks", name, tuple(CHECKS))
    case, found = _Case(drawn), {}
    for name in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of round trips that rounding spoils, which are measured here
                found[name] = verdict(name, case.flow, functools.partial(CHECKS[name], case))
        except Exception as error:
            error.add_note(f"check_flow ran {name!r} on {drawn!r} on {engine.name}.")
            raise
    return found


class _Case:
    """A drawn flow with its data, and the measured errors of its answers."""

    def __init__(self, drawn):
        self.drawn = drawn
        self.x, self.context = drawn.rows(ROWS)
        self.eps = rounding_unit("float32")

    def built(self, flow):
        """Return a flow, built for the data."""
        flow.build(pack((None, *self.x.shape[1:]), each(lambda c: (None, *c.shape[1:]), self.context)))
        return flow

    @functools.cached_property
    def flow(self):
        """Return the flow, adapted, with its weights moved as training may.

        Weights move before `adapt` too, and little after it: a layer that scales its small first kernels up would scale
        up large moves as well, and carry data beyond what float32 holds.
        """
        x, context = self.drawn.rows(64, turn=1)
        flow = randomize(self.built(self.drawn.flow()), self.drawn.seed).adapt(x, context)
        randomize(flow, self.drawn.seed, AFTER_ADAPT)
        if flow.bijector.refreshes:
            with engine.no_grad():
                flow(each(ops.convert_to_tensor, pack(self.x, self.context)), training=True)
        return flow

    def copied(self):
        """Return a float64 copy of the flow."""
        with engine.float64():
            flow = self.built(recreate(self.drawn.flow(), "float64"))
            flow.set_weights(self.flow.get_weights())
        return flow

    @functools.cached_property
    def wide(self):
        """Return the float64 copy by which errors are measured."""
        return self.copied()

    @functools.cached_property
    def finer(self):
        """Return a float64 copy that solves differential equations in finer steps; None without any."""
        if not any(isinstance(layer, Continuous) for layer in layers_inside(self.flow)):
            return None
        flow = self.copied()
        for layer in layers_inside(flow):
            if isinstance(layer, Continuous):
                finer = Solver(layer.solver, layer.steps, layer.rtol, layer.atol, layer.max_steps).finer()
                layer.steps, layer.rtol, layer.atol = finer.steps, finer.rtol, finer.atol
                layer.max_steps = finer.max_steps
        return flow

    @property
    def is_lossy(self):
        return self.flow.dequantize is not None or any(
            self.flow.bijector.is_lossy(inverse=inverse) for inverse in (False, True)
        )

    def measured(self, ask, x, domain, context=None, error=0.0):
        """Return the `Answer` of `ask(flow, x, context)`, with what it owes to an `error` of x.

        The float64 copy shows how it rounds: in float32 a shift by 1e5 hides all that is smaller than 1e-3.
        """
        context = self.context if context is None else context

        def run(flow, given):
            # In blocks of one size: the noise of a row follows from its place.
            blocks = np.split(given.x, len(given.x) // len(x))
            return [np.concatenate([ask(flow, block, context) for block in blocks])]

        def with_moved_weights(number, given):
            kept = self.wide.get_weights()
            self.wide.set_weights(nudged(self.wide, WEIGHT_STEP, np.random.default_rng(number)))
            try:
                return run(self.wide, given._replace(x=given.x[: len(x)]))  # others are not looked at
            finally:
                self.wide.set_weights(kept)

        given, moves = Inputs(x.astype("float64")), [functools.partial(with_moved_weights, n) for n in (1, 2)]
        unit = rounding_unit("float64")
        with engine.float64():
            options = {"eps": unit, "domain": domain, "input_error": error, "weight_moves": moves}
            (answer,) = measure(functools.partial(run, self.wide), given, **options)
            if self.finer is not None:
                answer.steps = STEPS * np.abs(run(self.finer, given)[0] - answer.value)
        # A sum that cancels may round to the same in all moves of one row: no error is below that of half of the rows.
        error = np.maximum(answer.error, np.median(answer.error, axis=0)) * self.eps / unit
        answer.value, answer.error = ask(self.flow, x, context).astype("float64"), error
        return answer

    @property
    def domain(self):
        layer = self.flow.bijector if self.flow.dequantize is None else self.flow.dequantize
        return layer.spec.domain

    @functools.cached_property
    def log_prob(self):
        """Return the measured log_prob of the data."""
        return self.measured(self.score, self.x, self.domain)

    # What is measured

    @staticmethod
    def score(flow, x, context):
        return flow.log_prob(x, context)

    @staticmethod
    def encode(flow, x, context):
        return flow.encode(x, context, check=None)

    @staticmethod
    def decode(flow, z, context):
        return flow.decode(z, context, check=None)

    def declared(self, value):
        """Return the error that the spec allows a solved round trip."""
        return self.flow.bijector.spec.allowed_round_trip * self.eps * np.maximum(1, np.abs(value))


def finite(answer, what):
    """Return an answer as numpy; raise Broken unless it is finite."""
    answer = np.asarray(ops.convert_to_numpy(answer), "float64")
    require(np.isfinite(answer).all(), f"a finite {what}", f"{answer}")
    return answer


# The checks, in the order of a user's work


def training(case):
    """`fit` one step with each objective that applies, from a flow that is not built."""

    def log_density(x, context=None):
        return -0.5 * ops.sum(ops.square(ops.reshape(x, (ops.shape(x)[0], -1))), axis=-1)

    for objective in (MaximumLikelihood(), ReverseKL(log_density), FlowMatching()):
        flow = case.drawn.flow()
        if not objective.needs_data:  # some layers take statistics from data alone
            case.built(flow).adapt(case.x, case.context)
        try:
            flow.compile(keras.optimizers.SGD(1e-3), loss=objective)
        except (TypeError, ValueError):
            require(
                objective.needs_data is False or type(objective) is FlowMatching, "to be trained", "a refusal"
            )
            continue
        given = {"x": case.x} if objective.needs_data else {"steps_per_epoch": 1}
        history = flow.fit(**given, context=case.context, batch_size=ROWS, epochs=1, verbose=0)
        finite(history.history["loss"], f"loss of {type(objective).__name__}")
        for weight in flow.weights:
            if "float" in str(weight.dtype):
                finite(weight, f"weight {weight.path} after a step of {type(objective).__name__}")


def density(case):
    """`log_prob`, `bits_per_dim` and `evaluate` agree, whatever the batch size."""
    flow, x, context = case.flow, case.x, case.context
    whole = finite(flow.log_prob(x, context), "log_prob")
    allowed = case.log_prob.allowed()
    require(whole.shape == (ROWS,), f"log_prob of shape ({ROWS},)", f"{whole.shape}")
    judge(whole, flow.log_prob(x, context, batch_size=2), allowed, what="log_prob in batches of 2")
    size = x[0].size * math.log(2)
    bits = flow.bits_per_dim(x, context)
    judge(-whole / size, bits, allowed / size, what="bits_per_dim from log_prob")
    flow.compile("sgd")
    found = flow.evaluate(x, context=context, batch_size=ROWS, verbose=0, return_dict=True)
    finite(list(found.values()), "evaluation")
    if flow.exact == "exact":
        mean, most = -whole.mean(keepdims=True), allowed.mean(keepdims=True)
        judge(mean, np.array([found["loss"]]), most, what="the mean of -log_prob")


def latents(case):
    """`decode(encode(x))` is x."""
    flow, x, context = case.flow, case.x, case.context
    codomain = flow.bijector.spec.codomain
    there = case.measured(case.encode, x, case.domain)
    z, split = finite(there.value, "latent"), flow.encode(x, context, batch_size=2, check=None)
    judge(z, split, there.allowed(), what="latents in batches of 2", where=x)
    z = z.astype("float32")
    if flow.dequantize is not None or flow.bijector.is_lossy(inverse=True):
        finite(flow.decode(z, context, check=None), "datum of latents")
        return
    error = there.error + there.steps / ROUNDINGS + case.declared(z) / ROUNDINGS
    back = case.measured(case.decode, z, codomain, error=error)
    finite(back.value, "datum of latents")
    if flow.bijector.is_lossy(inverse=False):
        return
    allowed = back.allowed() + case.declared(x)
    judge(x.astype("float64"), back.value, allowed, what="decode(encode(x))", where=x)


def samples(case):
    """`sample`, `sample_and_log_prob` and `draw` agree with each other and with `log_prob`."""
    flow, context = case.flow, each(lambda rows: rows[:2], case.context)
    lead = (3,) if context is None else (3, 2)
    x = flow.sample(3, context, seed=1)
    finite(x, "sample")
    require(x.shape == (*lead, *case.x.shape[1:]), f"samples of {(*lead, *case.x.shape[1:])}", f"{x.shape}")
    require(np.array_equal(x, flow.sample(3, context, seed=1)), "the same draws for the same seed", "others")
    again, log_prob = flow.sample_and_log_prob(3, context, seed=1)
    finite(log_prob, "log_prob of samples")
    rows, others = (part.reshape(-1, *x.shape[len(lead) :]) for part in (x, again))
    seen, error = each(lambda c: np.concatenate([c] * 3), context), 0.0
    if not case.is_lossy:
        z = flow.encode(rows, seen, check=None)
        there = case.measured(case.decode, z, flow.bijector.spec.codomain, seen)
        error = there.error + (there.steps + case.declared(rows)) / ROUNDINGS
        allowed = 2 * ROUNDINGS * error
        judge(rows.astype("float64"), others, allowed, what="samples of sample_and_log_prob", where=z)
    scored = case.measured(case.score, rows, case.domain, seen, error=error)
    finite(scored.value, "log_prob of samples")
    if flow.exact == "exact":
        judge(scored.value, log_prob.reshape(-1), scored.allowed(), what="log_prob of samples", where=rows)
    if flow.dequantize is None and "whole" not in flow.bijector.spec.domain.kind:
        drawn, log_q = flow.draw(3, each(ops.convert_to_tensor, context), seed=1)
        finite(drawn, "draw")
        finite(log_q, "log q of a draw")


def files(case):
    """A copy by a file, a config, `clone_model` or `deepcopy` has the same answers."""
    flow, x, context = case.flow, case.x, case.context
    before = flow.log_prob(x, context)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flow.keras")
        flow.save(path)
        copies = {"the file": keras.models.load_model(path)}
    copies["copy.deepcopy"] = copy.deepcopy(flow)
    weights = flow.get_weights()
    for name, other in {
        "get_config": type(flow).from_config(json.loads(json.dumps(flow.get_config()))),
        "clone_model": keras.models.clone_model(flow),
    }.items():
        copies[name] = case.built(other)
        other.set_weights(weights)
    for name, other in copies.items():
        same = np.array_equal(before, other.log_prob(x, context))
        require(same, f"{before} of the copy by {name}", f"{other.log_prob(x, context)}")
        require(repr(other) == repr(flow), f"{flow!r} by {name}", f"{other!r}")


def log_dets(case):
    """Round trips of the whole bijector, and its log-dets beside automatic Jacobians, in float64."""
    seen = case.context
    if case.flow.embedding is not None:
        seen = ops.convert_to_numpy(case.flow.embed(each(ops.convert_to_tensor, seen)))

    def context(rng, batch, event):
        return each(lambda c: np.resize(c, (batch, *c.shape[1:])), seen)

    report = check_bijector(
        lambda: case.drawn.flow().bijector,
        event_shapes=[case.x.shape[1:]],
        clauses=ESSENTIAL,
        examples=1,
        context=None if seen is None else context,
        seed=case.drawn.seed,
        raises=False,
    )
    for result in report.results:
        if result.verdict == "broken":
            raise result.error


def compiled(case):
    """`predict` answers the same with and without compilation."""
    flow, answers = case.flow, []
    ask_unless(flow.exact != "exact", "an estimate draws noise anew")
    for options in ({"run_eagerly": True}, {"jit_compile": True}):
        flow.compile("sgd", **options)
        answers.append(flow.predict(pack(case.x, case.context), verbose=0))
    judge(*answers, case.log_prob.allowed(), what="log_prob without compilation")


CHECKS = {
    check.__name__.replace("_", " "): check
    for check in (training, density, latents, samples, files, log_dets, compiled)
}
"""name -> the function that runs it."""
