"""`flowkit export`: one of a flow's functions as a file that needs neither flowkit nor Keras."""

from pathlib import Path
from typing import Annotated

from typer import Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Run
from flowkit.app.failure import CommandError


def export(
    run: Run,
    output: Annotated[
        Path, Option("-o", "--output", help="A .onnx, .xml, .pt2 or .tflite file, or a folder.")
    ],
    what: Annotated[str, Option(help="decode, encode, log_prob or encode_and_log_prob.")] = "decode",
    backend: Backend = None,
):
    """Write a function of a flow for ONNX Runtime, OpenVINO and others, after it was compared with the flow."""
    use(backend)
    import numpy as np

    from flowkit.app.trained import classes_of, loaded
    from flowkit.flow.export import FORMATS

    formats = {format.suffix: name for name, format in FORMATS.items()}
    if output.suffix not in formats:
        known = ", ".join(filter(None, formats))
        raise CommandError(f"--output: got {output}, expected a name that ends in {known}, or a folder")
    _, flow = loaded(run)
    classes = classes_of(flow)
    context = None if classes is None else np.arange(classes, dtype="int32")
    error = flow.export(output, what, formats[output.suffix], context=context)
    print(f"{what} {output}  (differs from the flow by at most {error:.1g} of the size of its answers)")
