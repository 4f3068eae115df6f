"""The same weights and inputs give the same answers on every engine."""

import importlib
import inspect
import os
import subprocess
import sys
import tempfile

import numpy as np

from flowkit import backends
from flowkit.contract import ContractError

_WORKER = "from flowkit.testing.parity import answer; answer(*__import__('sys').argv[1:])"


def check_parity(make, backends=("jax", "torch", "tensorflow"), *, event_shape, context=None, seed=1):
    """Raise `ContractError` where engines differ in output, log-det, inverse or their gradients.

    `make` is a function (or class) at the top of an importable module, or its name "package.module:function": each
    engine runs in a process of its own, which makes the bijector, takes the first engine's perturbed weights from an
    `.npz` file, and answers in float32. The difference allowed is the rounding measured on the first engine (in
    float32's units), added up for both. Returns {engine: {name: array}}.
    """
    name = make if isinstance(make, str) else f"{inspect.getmodule(make).__name__}:{make.__qualname__}"
    place = (
        os.path.dirname(os.path.abspath(inspect.getfile(make))) if not isinstance(make, str) else os.getcwd()
    )
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for engine in backends:
            files[engine] = os.path.join(folder, f"{engine}.npz")
            start = files[backends[0]] if engine != backends[0] else ""
            shape = ",".join(map(str, event_shape))
            size = "" if context is None else ",".join(map(str, context))
            _run(engine, [name, shape, size, str(seed), start, files[engine]], place)
        answers = {engine: dict(np.load(path)) for engine, path in files.items()}
    first = answers[backends[0]]
    for engine, found in answers.items():
        for key in [k for k in first if k.endswith(" error")]:
            what = key.removesuffix(" error")
            gap = np.abs(first[what] - found[what])
            allowed = 2 * first[key]
            if not (gap <= allowed).all():
                worst = np.unravel_index(np.argmax(np.nan_to_num(gap - allowed, nan=np.inf)), gap.shape)
                raise ContractError(
                    "parity",
                    name,
                    expected=f"{what} as on {backends[0]}, {first[what][worst]:.6g}, up to {allowed[worst]:.3g}",
                    received=f"{found[what][worst]:.6g} on {engine}",
                    hint="An op differs between the engines: keras.ops.logdet, or a default precision, for instance.",
                )
    return answers


def _run(engine, arguments, place):
    paths = [place, *filter(None, sys.path)]
    environment = {**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"check_parity could not run on {engine}:\n{done.stderr[-3000:]}")


def found(name):
    """What "package.module:attribute" names."""
    module, _, attribute = name.partition(":")
    target = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
    return target


def answer(name, shape, size, seed, start, path):
    """One engine's part: write outputs, log-dets, gradients, measured errors and weights to `path`."""
    from flowkit.testing.example import Example
    from flowkit.testing.subject import Subject, unit
    from flowkit.testing.tolerances import ROUNDINGS
    from flowkit.testing.trial import Trial

    event = tuple(map(int, shape.split(",")))
    context = tuple(map(int, size.split(","))) if size else None
    subject = Subject(found(name), event_shapes=[event], context=context)
    trial = Trial(subject, Example(event, seed=int(seed), noise=1.0))
    layer = trial.layer32
    if start:
        given = np.load(start)
        layer.set_weights([given[f"weight {i}"] for i in range(len(layer.weights))])
    result = {f"weight {i}": v.numpy() for i, v in enumerate(layer.weights)}
    for inverse, points in ((False, trial.x), (True, trial.z)):
        side = "inverse" if inverse else "forward"
        value, log_det = trial.call32(points, trial.context, inverse)
        result |= {f"{side} output": value, f"{side} log-det": log_det}
    _add_gradients(trial, layer, result)
    if not start:
        for inverse, measured in ((False, trial.there), (True, trial.back)):
            side = "inverse" if inverse else "forward"
            grow = ROUNDINGS * unit("float32") / trial.unit_of(inverse)
            result[f"{side} output error"] = grow * measured.value_error
            result[f"{side} log-det error"] = grow * measured.log_det_error
        for key in [k for k in result if k.startswith("gradient")]:
            # A gradient is a sum over all samples and places: its rounding is that of its largest entries.
            size = np.max(np.abs(result[key]), initial=1.0)
            loss = np.max([grow * measured.value_error.max(), grow * measured.log_det_error.max()])
            result[f"{key} error"] = np.full(result[key].shape, size * max(loss, ROUNDINGS * unit("float32")))
    np.savez(path, **result)


def _add_gradients(trial, layer, result):
    import keras
    from keras import ops

    def loss(values):
        mapping = list(zip(layer.trainable_variables, values[1:], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            context = None if trial.context is None else ops.convert_to_tensor(trial.context)
            z, log_det = layer(values[0], context=context)
        return ops.sum(ops.sin(z)) + ops.sum(log_det)

    values = [trial.x.astype("float32"), *(v.numpy() for v in layer.trainable_variables)]
    _, grads = backends.gradients(loss, [ops.convert_to_tensor(v) for v in values])
    for i, grad in enumerate(grads):
        result[f"gradient {i}"] = ops.convert_to_numpy(grad)
