"""`flowkit convert`: foreign weights become a flow, a flow becomes the published code's weights."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument, Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, new_file
from flowkit.app.failure import CommandError


def _shape(text):
    """Return the whole numbers of an option such as 32,32,3; typer prints what is wrong with others."""
    parts = str(text).split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"got {text!r}, expected whole numbers such as 32,32,3")
    return tuple(map(int, parts))


def convert(
    source: Annotated[
        Path, Argument(help="A flow.keras or a RUN; or weights: an .npz, a TensorFlow checkpoint, a .pt.")
    ],
    output: Annotated[Path, new_file("A .keras file for foreign weights, an .npz for a flow.")],
    n_bits: Annotated[
        int | None, Option(min=1, max=8, help="Bits of the images that the weights were trained on.")
    ] = None,
    input_shape: Annotated[
        Any,
        Option(parser=_shape, metavar="H,W,C", help="The images' size. Default: that of the first data."),
    ] = None,
    check: Annotated[
        Path | None, Option(metavar="FILE.NPZ", exists=True, dir_okay=False, help="Rows and their log_prob.")
    ] = None,
    backend: Backend = None,
):
    """Turn weights of other implementations into a flow, or a flow into those of Glow's published code."""
    use(backend)
    from flowkit.convert import from_openai, from_rosinality, read_variables, to_openai
    from flowkit.flow.saving import load_file
    from flowkit.training import atomic_path

    if (source / "flow.keras").is_file():
        source /= "flow.keras"
    exports = source.suffix == ".keras"
    wanted = ".npz" if exports else ".keras"
    if output.suffix != wanted:
        raise CommandError(f"--output: got {output}, expected a name that ends in {wanted}")
    if exports:
        variables = to_openai(load_file(source))
        with atomic_path(output) as temporary:
            np.savez(temporary, **variables)
        print(f"weights {output}  (names of openai/glow)")
        return
    variables = read_variables(source)
    rosinality = any(name.removeprefix("module.").startswith("blocks.") for name in variables)
    port = from_rosinality if rosinality else from_openai
    options = {} if n_bits is None else {"n_bits": n_bits}
    flow = port(variables, input_shape=input_shape, check=check, **options)
    with atomic_path(output) as temporary, warnings.catch_warnings():
        # Keras warns that there may be no weights while the size is open. There are.
        warnings.filterwarnings("ignore", message="You are saving a model that has not yet been built")
        flow.save(temporary)
    print(f"flow {output}  (images of {flow.dequantize.n_bits} bits, {input_shape or 'of any size'})")
