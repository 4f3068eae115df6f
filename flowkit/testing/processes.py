"""Check a bijector in processes of several backends, each of which finds it by its name.

A name is "package.module:Name", or "folder/file.py:Name".
"""

import difflib
import importlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis.strategies import SearchStrategy

from flowkit._engine import run_on
from flowkit.contract import Context, ContractError, FlowLayer
from flowkit.contract.precision import rounding_unit
from flowkit.testing.checker import check_bijector, profile_of
from flowkit.testing.clauses.gradients import gradients
from flowkit.testing.examples import Example
from flowkit.testing.inputs import described, is_shape
from flowkit.testing.judging import SIDES
from flowkit.testing.subject import Subject
from flowkit.testing.tolerances import DIRECTIONS, ROUNDINGS
from flowkit.testing.trial import Trial

_WORKER = "from flowkit.testing.processes import answer; answer(*__import__('sys').argv[1:])"


def check_parity(
    make: str | Callable[..., Any],
    backends: Sequence[str] = ("jax", "torch", "tensorflow"),
    *,
    event_shape: Sequence[int] | None = None,
    context: Context = None,
    seed: int = 1,
) -> dict[str, dict[str, np.ndarray]]:
    """Raise `ContractError` if backends differ in output, log-det or their gradients, in either direction.

    `make` is a function (or class) at the top of an importable module, or its name "package.module:function": each
    backend runs in a process of its own, which makes the bijector, takes the first backend's perturbed weights from an
    `.npz` file, and computes in float32. The difference allowed is the rounding measured on the first backend (in
    float32's units), added up for both. `event_shape` is by default one that the spec allows, and `context` the shape
    of one context, or a dict of shapes. Returns {backend: {name: array}}.
    """
    if event_shape is not None and not is_shape(event_shape):
        raise TypeError(
            f"check_parity's event_shape: got {event_shape!r}, expected a shape of whole numbers, such as (3,)."
        )
    name, first, answers = name_of(make), backends[0], {}
    event = None if event_shape is None else list(map(int, event_shape))
    options = {"event": event, "context": described(context), "seed": seed, "start": None}
    with tempfile.TemporaryDirectory() as folder:
        for engine in backends:
            path = os.path.join(folder, f"{engine}.npz")
            # Last, since in a folder of the author's any file may have the name of one of Python's modules.
            modules = [*filter(None, sys.path), os.getcwd()]
            done = run_on(engine, _WORKER, [name, json.dumps(options), path], modules)
            if done.returncode:
                raise RuntimeError(f"check_parity could not run on {engine}:\n{done.stderr[-3000:]}")
            answers[engine] = dict(np.load(path))
            options["start"] = os.path.join(folder, f"{first}.npz")
    for engine in backends[1:]:
        compare(name, first, answers[first], engine, answers[engine])
    return answers


def compare(name, first, expected, engine, received):
    """Raise `ContractError` if the answers of an engine differ from those of the first one by more than rounding."""
    for key in [k for k in expected if k.endswith(" error")]:
        what = key.removesuffix(" error")
        gap = np.abs(expected[what] - received[what])
        allowed = 2 * expected[key]
        if (gap <= allowed).all():
            continue
        worst = np.unravel_index(np.argmax(np.nan_to_num(gap - allowed, nan=np.inf)), gap.shape)
        wanted = f"{what} as on {first}, {expected[what][worst]:.6g}, up to {allowed[worst]:.3g}"
        found = f"{received[what][worst]:.6g} on {engine}"
        hint = "An op differs between the backends: keras.ops.logdet, or a default precision, for instance."
        raise ContractError("parity", name, expected=wanted, received=found, hint=hint)


# One backend's part: what its process runs


def answer(name, options, path):
    """Write outputs, log-dets, gradients, measured errors and weights to `path`."""
    options = json.loads(options)
    start = dict(np.load(options["start"])) if options["start"] else {}
    event = start["event"].tolist() if start else options["event"]
    subject = Subject(found(name), event_shapes=event and [event], context=options["context"])
    trial = Trial(subject, Example(subject.events[-1], seed=options["seed"], noise=1.0))
    layer = trial.layer32
    if start:
        layer.set_weights([start[f"weight {i}"] for i in range(len(layer.weights))])
    result = {"event": np.array(trial.event)}
    result |= {f"weight {i}": v.numpy() for i, v in enumerate(layer.weights)}
    for inverse, _ in trial.directions:
        side = SIDES[inverse]
        value, log_det = trial.run32(inverse)
        grads = _gradients(trial, inverse)
        result |= {f"{side} output": value, f"{side} log-det": log_det}
        result |= {f"gradient {i} of {side}": gradient for i, gradient in enumerate(grads)}
        if not start:
            result |= _errors(trial, inverse, grads)
    np.savez(path, **result)


def _errors(trial, inverse, grads):
    """Return the error that rounding in float32 may have made in each answer of a direction."""
    side, unit = SIDES[inverse], rounding_unit("float32")
    value, log_det = (ROUNDINGS * error for error in trial.float32_errors(inverse))
    if inverse:  # one that iterates stops where its spec says, and takes its log-det there
        value = value + trial.declared(trial.measured_in(True).output.value)
        log_det = log_det + trial.measured_after(True).log_det.spread
    errors = {f"{side} output error": value, f"{side} log-det error": log_det}
    # A gradient is a sum over samples and places: its rounding is that of its largest entries.
    moved = [_gradients(trial, inverse, draw) for draw in range(1, 1 + DIRECTIONS)]
    for i, (gradient, *others) in enumerate(zip(grads, *moved, strict=True)):
        steps = [np.max(np.abs(other - gradient), initial=0.0) for other in others]
        noise = max(steps) + unit * np.max(np.abs(gradient), initial=1.0)
        errors[f"gradient {i} of {side} error"] = np.full(gradient.shape, ROUNDINGS * noise)
    return errors


def _gradients(trial, inverse, draw=None):
    """Return the gradients of a scalar of both answers with respect to the input and each weight.

    A `draw` moves all of these by one rounding each. A solver's gradients are not promised.
    """
    if trial.solved(inverse):
        return []
    layer, given = trial.layer32, trial.inputs(inverse)
    values = [given.x.astype("float32"), *(v.numpy() for v in layer.trainable_variables)]
    if draw is not None:
        rng = np.random.default_rng([draw, 8])
        step = np.float32(rounding_unit("float32"))
        values = [v * (1 + step * rng.choice([-1, 1], size=v.shape)).astype("float32") for v in values]
    return gradients(layer, inverse, given.tensors("float32"), layer.trainable_variables, values)


def report(name, options):
    """Check what `name` names, as `flowkit check` does in a process of each engine; print one line of JSON."""
    options = json.loads(options)
    try:
        profile_of(options.get("profile", "full"))
        make = checkable(found(name), name)
    except ValueError as error:
        line = {"misused": str(error)}
    else:
        found_out = check_bijector(make, raises=False, **options)
        line = {**found_out.as_dict(), "table": str(found_out)}
    print("\n" + json.dumps(line))


# What a name stands for


def found(name):
    """Return what "package.module:Name" or "folder/file.py:Name" names. Raises ValueError for what is not there."""
    module, _, attribute = name.rpartition(":")
    if not (module and attribute):
        raise ValueError(f"a bijector's name: got {name!r}, expected package.module:Name or file.py:Name.")
    target = _of_file(Path(module)) if module.endswith(".py") else _imported(module)
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{module!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def checkable(thing, name):
    """Return `thing` if it is, or makes, a bijector; raise ValueError otherwise. Call nothing.

    A function must be written in Python and have no parameter, or one named `draw`.
    """
    if inspect.isclass(thing) and issubclass(thing, FlowLayer):
        try:
            inspect.signature(thing).bind()
        except TypeError as error:
            raise ValueError(
                f"{name!r}: got a class with arguments ({error}), expected one without. Write a function beside it, "
                f"def one(): return {thing.__name__}(...)"
            ) from None
        return thing
    takes_none = inspect.isfunction(thing) and list(inspect.signature(thing).parameters) in ([], ["draw"])
    if takes_none or isinstance(thing, (FlowLayer, SearchStrategy)):
        return thing
    kind = f"the class {thing.__name__}" if inspect.isclass(thing) else f"a {type(thing).__name__}"
    raise ValueError(
        f"{name!r}: got {kind}, expected a Bijector or Surjection, its class or a function. Write a function in a "
        "module of your own, def one(): return ...; of a flow, flow.bijector. Check a distribution by "
        "flowkit.testing.check_distribution."
    )


def _imported(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r}: {error}") from error


def _of_file(path):
    """Return the module in a file, as a program beside it would import it."""
    if not path.is_file():
        raise ValueError(f"no file {str(path)!r}")
    sys.path.insert(0, str(path.resolve().parent))
    module = _imported(path.stem)
    file = getattr(module, "__file__", None)
    if file is None or Path(file).resolve() != path.resolve():
        raise ValueError(
            f"{str(path)!r}: got the name of another module, {file or path.stem}, expected its own. Rename the file."
        )
    return module


def name_of(make):
    """Return the name by which another process finds a function or class."""
    if isinstance(make, str):
        return make
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", None)
    if not (inspect.isroutine(make) or inspect.isclass(make)):
        raise TypeError(
            f"check_parity's make: got {make!r}, expected a function or class that makes a bijector, or its name."
        )
    if module in (None, "__main__") or "<" in name:
        raise ValueError(
            f"check_parity's make: got {name} of {module}, expected what another process can import. Write it at the "
            "top of a module."
        )
    return f"{module}:{name}"
