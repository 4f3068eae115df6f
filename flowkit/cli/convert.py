"""`flowkit convert`: foreign weights become a flow, a flow becomes the published code's weights."""

import warnings

import numpy as np

from flowkit.cli.failure import CommandError
from flowkit.cli.flow_file import read_flow
from flowkit.cli.run_folder import RunFolder
from flowkit.convert import from_openai, from_rosinality, read_variables, to_openai
from flowkit.training import atomic_path


def run(source, *, output, n_bits, input_shape, check):
    run = RunFolder(source)
    if run.flow_path.exists() or run.recipe_path.exists():
        source = run.flow_path
    if source.suffix == ".keras":
        _export(source, output, n_bits, input_shape, check)
    else:
        _import(source, output, n_bits, input_shape, check)


def _export(source, output, n_bits, input_shape, check):
    if output.suffix != ".npz":
        raise CommandError(f"--output: a flow is written to an .npz file, received {output}")
    if n_bits is not None or input_shape is not None or check is not None:
        raise CommandError(
            "--n-bits, --input-shape and --check belong to foreign weights: a flow knows its own"
        )
    variables = to_openai(read_flow(source))
    with atomic_path(output) as temporary:
        np.savez(temporary, **variables)
    print(f"weights {output}  ({_size(variables.values())}, names of openai/glow)")


def _import(source, output, n_bits, input_shape, check):
    if output.suffix != ".keras":
        raise CommandError(f"--output: a flow is written to a .keras file, received {output}")
    shape = None if input_shape is None else _shape(input_shape)
    variables = read_variables(source)
    port, names = _port(source, variables)
    flow = port(variables, input_shape=shape, check=check, **({} if n_bits is None else {"n_bits": n_bits}))
    with atomic_path(output) as temporary, warnings.catch_warnings():
        # Where the size is still open Keras warns that there may be no weights. There are.
        warnings.filterwarnings("ignore", message="You are saving a model that has not yet been built")
        flow.save(temporary)
    size = "any size" if shape is None else "x".join(map(str, shape))
    bits = f"{flow.dequantize.levels.bit_length() - 1} bits"
    print(f"flow {output}  ({_size(flow.bijector.weights)}, {names}, {bits}, images of {size})")


def _port(source, variables):
    """Whose names these are: the function that takes them, and what to call them."""
    for port, first, names in (
        (from_openai, "model/", "names of openai/glow"),
        (from_rosinality, "blocks.", "names of rosinality/glow-pytorch"),
    ):
        if any(name.removeprefix("module.").startswith(first) for name in variables):
            return port, names
    raise CommandError(
        f"{source}: expected names as in openai/glow (model/0/0/...) or rosinality/glow-pytorch "
        f"(blocks.0.flows.0...), found {', '.join(list(variables)[:3]) or 'none'}"
    )


def _shape(text):
    try:
        height, width, channels = map(int, text.split(","))
    except ValueError:
        raise CommandError(
            f"--input-shape: expected three numbers as in 32,32,3, received {text!r}"
        ) from None
    return height, width, channels


def _size(weights):
    return f"{sum(int(np.prod(weight.shape)) for weight in weights):,} numbers"
