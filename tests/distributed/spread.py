"""Flows that processes draw from together."""

import keras
import numpy as np

from flowkit import Flow, distributed, distributions, surjections
from flowkit.engines import engine
from tests.distributed.small_flow import LABELS, X, flow


def moved(made, by=0.02):
    """A flow whose networks do not answer with constants, as they do in the beginning."""
    rng = np.random.default_rng(0)
    for weight in made.trainable_variables:
        weight.assign(keras.ops.convert_to_numpy(weight) + by * rng.normal(size=weight.shape))
    return made


def table_flow():
    """A flow of tables that draws on its way back, and whose base has weights and draws twice."""
    keras.utils.set_random_seed(0)
    made = Flow(surjections.Slice(1), distributions.Mixture(3))
    made.adapt(distributed.mine(X[:, 0, 0]))
    return moved(made)


def spread(file):
    """Samples that all draw together, and how many of them each has decoded, to `file`."""
    labelled, table, told = flow(num_classes=3), table_flow(), {}
    mine = distributed.mine(np.arange(len(X)))
    moved(labelled.adapt(X[mine], LABELS[mine]))
    for name, asked, given in (
        ("labels", labelled, {"n": 3, "context": np.arange(3), "temperature": 0.5}),
        ("table", table, {"n": 7}),
        ("one", table, {"n": 1}),
    ):
        given["check"] = None  # which would look at rows, and they are counted
        if distributed.is_main():
            told[f"{name}_alone"] = asked.sample(**given, seed=4)  # for which no other is needed
            if engine.name == "torch":
                asked.sample(**given)  # its generator moves on; on JAX it is the group's
        compiled, told[f"{name}_rows"] = asked._inference_function, []

        def counting(function, compiled=compiled, rows=told[f"{name}_rows"], **options):
            def run(*args):
                rows.append(len(args[0]))
                return compiled(function, **options)(*args)

            return run

        asked._inference_function = counting
        told[name] = asked.sample(**given, seed=4, spread=True)
        asked._inference_function = compiled
        told[f"{name}_next"] = asked.sample(**given, spread=True)
    if distributed.is_main():
        told["log_prob"] = table.log_prob(told["table"])
    last = distributed.rank() == distributed.world() - 1
    told["refused"] = _refused(asked, n=2 + distributed.rank())
    asked._inference_function = _no_memory if last else compiled
    told["refused_decode"] = _refused(asked, n=2)
    asked._inference_function = compiled
    np.savez(file, **told)


def _refused(asked, **given):
    """What `sample` raises, in words; "" for nothing."""
    try:
        asked.sample(**given, seed=4, spread=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _no_memory(*args, **options):
    raise MemoryError("pretended")
