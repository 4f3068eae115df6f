"""The commands and their options. What they do is one file each, imported when the engine is known."""

from pathlib import Path
from typing import Annotated, Any

import typer

import flowkit
from flowkit._engine import ENGINES
from flowkit.cli import paths
from flowkit.cli.engine import use


def numbers(text):
    """The numbers of an option such as -1,0,1."""
    try:
        return [float(part) for part in str(text).split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between them, received {text!r}") from None


def shapes(text):
    """The event shapes of an option such as 3;8,8,3."""
    try:
        return [tuple(int(size) for size in part.split(",")) for part in text.split(";")]
    except ValueError:
        raise typer.BadParameter(f"expected event shapes such as '3;8,8,3', received {text!r}") from None


app = typer.Typer(
    name="flowkit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Backend = Annotated[
    str | None,
    typer.Option(help=f"The engine: {', '.join(ENGINES)}. Default: KERAS_BACKEND, or the first installed."),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A folder that `flowkit train` has made, a preset (a name such as glow/fashion-mnist, a folder, or "
        "hf://user/name), or a .keras file.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The PNG file to write.", callback=paths.picture)
]
Data = Annotated[
    str | None,
    typer.Option(help="A data set by name, a folder or file of images, or a table.", metavar="SOURCE"),
]


def show_version(wanted: bool):
    if wanted:
        print(f"flowkit {flowkit.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    """Normalizing flows: train one from a recipe, sample it, measure it."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a name such as glow/fashion-mnist.")],
    data: Data = None,
    backend: Backend = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs in all, in place of the recipe's.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the networks: float32, or mixed_bfloat16 in place of the recipe's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write. Default: runs/ and the recipe's name.", callback=paths.folder
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers whose batches make one step: the recipe states that of one.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any value of the recipe, as model.steps=8."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Numbers and pictures of each epoch for tensorboard, wandb, mlflow or csv, too.",
        ),
    ] = None,
):
    """Train a flow from a recipe, evaluate it on the test split, and draw samples.

    In several processes: torchrun --nproc-per-node 8 -m flowkit train ...
    """
    use(backend, trains=True)
    from flowkit.cli.train import run

    run(
        recipe,
        source=data,
        epochs=epochs,
        precision=precision,
        workers=workers,
        out=out,
        resume=resume,
        settings=set_ or [],
        logs=log or [],
    )


@app.command()
def sample(
    run: Run,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="How many images, or rows of a table.")
    ] = 64,
    temperature: Annotated[
        Any,
        typer.Option(
            parser=numbers,
            metavar="T",
            help="Spread of the latents, or one for each level as 0.7,1. Default: the recipe's.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The PNG file to write; of a table, a .csv file.", callback=paths.samples
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same samples.")] = 0,
    zoom: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Each pixel of an image becomes a square of so many. Default: as many as bring the picture to 512.",
        ),
    ] = None,
    backend: Backend = None,
):
    """Draw samples of a trained flow, as one picture; of a table, as one more table.

    In several processes, torchrun -m flowkit sample ..., each draws its part.
    """
    use(backend, shares=True)
    from flowkit.cli.sample import run as draw

    draw(run, count=count, temperature=temperature, output=output, seed=seed, zoom=zoom)


@app.command()
def evaluate(
    run: Run,
    data: Data = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Draws of dequantisation noise: more give a tighter bound.")
    ] = 1,
    levels: Annotated[
        bool, typer.Option("--levels", help="Also what each level of the flow carries, as a table.")
    ] = False,
    backend: Backend = None,
):
    """Bits per dimension on the test split, with the standard error over images; of a table, nats.

    In several processes, torchrun -m flowkit evaluate ..., each scores its part.
    """
    use(backend, shares=True)
    from flowkit.cli.evaluate import run as measure

    measure(run, source=data, samples=samples, levels=levels)


@app.command()
def diagnose(
    run: Run,
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The folder to write. Default: diagnostics, in that of the run.",
            callback=paths.folder,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="At most so many test images, or rows of a table.")] = 1000,
    samples: Annotated[int, typer.Option(min=100, help="How many samples are drawn to compare with.")] = 1000,
    outside: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Data of another kind, that should be told apart.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A flow of more general data, which its likelihood is compared with."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    backend: Backend = None,
):
    """Whether a flow is any good: latents, coverage, round trips, memorisation, other data."""
    use(backend)
    from flowkit.cli.diagnose import run as look

    look(
        run,
        source=data,
        output=output,
        rows=rows,
        samples=samples,
        outside=outside,
        background=background,
        seed=seed,
    )


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Folders that `flowkit train` has made.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The PNG file to write.", callback=paths.picture)
    ] = Path("compare.png"),
    backend: Backend = None,
):
    """Curves, samples and numbers of several runs side by side."""
    use(backend)
    from flowkit.cli.compare import run as draw

    draw(runs, output=output)


@app.command()
def interpolate(
    run: Run,
    first: Annotated[Path, typer.Argument(metavar="A.PNG", exists=True, dir_okay=False)],
    second: Annotated[Path, typer.Argument(metavar="B.PNG", exists=True, dir_okay=False)],
    output: Output = None,
    steps: Annotated[int, typer.Option(min=2, help="Images in the strip, both ends included.")] = 9,
    path: Annotated[str, typer.Option(help="linear or spherical.")] = "linear",
    label: Annotated[int | None, typer.Option(help="The class, for a class-conditional flow.")] = None,
    backend: Backend = None,
):
    """The way between two images in the space of latents, as one picture."""
    use(backend)
    from flowkit.cli.interpolate import run as draw

    draw(run, first, second, output=output, steps=steps, path=path, label=label)


@app.command()
def manipulate(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    from_class: Annotated[str, typer.Option(help="A class of the data, by number or name.")],
    to_class: Annotated[str, typer.Option(help="The class to move the images towards.")],
    amounts: Annotated[
        Any, typer.Option(parser=numbers, metavar="A,B,...", help="How far: 0 is the image itself.")
    ] = "0,0.5,1,1.5",
    output: Output = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Images of each class that the direction is learned from.")
    ] = 500,
    data: Data = None,
    backend: Backend = None,
):
    """Images moved from one class towards another, a row for each, a column for each amount."""
    use(backend)
    from flowkit.cli.manipulate import run as draw

    draw(
        run,
        images,
        from_class=from_class,
        to_class=to_class,
        amounts=amounts,
        output=output,
        limit=limit,
        source=data,
    )


@app.command()
def play(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder to write, for any server. Default: serve it at once.",
            callback=paths.folder,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to serve it; 0 takes a free one.")
    ] = 8000,
    ort: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="npm's onnxruntime-web/dist. Default: downloaded once.",
        ),
    ] = None,
    data: Data = None,
    backend: Backend = None,
):
    """A page on which the flow runs in the browser: mix images, move latents, read log p."""
    use(backend)
    from flowkit.cli.play import run as show

    show(run, out=out, port=port, ort=ort, source=data)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="flow.keras or a RUN; or foreign weights: an .npz, a TensorFlow checkpoint, a .pt."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="A .keras file for foreign weights, an .npz for a flow.",
            callback=paths.weights,
        ),
    ],
    n_bits: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Bits of the images that foreign weights were trained on."),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="H,W,C", help="The images' size. Default: that of the first data."),
    ] = None,
    backend: Backend = None,
):
    """Turn weights of other implementations into a flow, or a flow into those of Glow's published code."""
    use(backend)
    from flowkit.cli.convert import run

    run(source, output=output, n_bits=n_bits, input_shape=input_shape)


@app.command()
def preset(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that has come to its end.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The preset, a new folder.", callback=paths.folder)
    ],
    license_: Annotated[
        str | None, typer.Option("--license", help="Under which the weights may be used, such as apache-2.0.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What the README says first.")] = None,
    backend: Backend = None,
):
    """Make a preset of a run: a folder with flow, recipe, numbers and a model card, to be shared."""
    use(backend)
    from flowkit.cli.preset import run as make

    make(run, folder, license=license_, description=description)


@app.command()
def check(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:NAME", help="What makes the bijector, as mypkg.twist:Twist.")
    ],
    backends: Annotated[
        str | None, typer.Option(help="Engines with commas between them. Default: the one in use.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Examples that each clause tries, in place of the profile's.")
    ] = None,
    event_shapes: Annotated[
        str | None,
        typer.Option(
            metavar="3;8,8,3", help="Event shapes, with semicolons between them. Default: tried out."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="How much is asked: fast, full or thorough.")] = "full",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
):
    """Hold a bijector to its contract: exit code 1 if a promise is broken."""
    use(None)
    from flowkit.testing.running.command import check_command

    engines = backends.split(",") if backends else None
    return check_command(
        target,
        backends=engines,
        examples=examples,
        event_shapes=None if event_shapes is None else shapes(event_shapes),
        profile=profile,
        as_json=json_,
    )


@app.command()
def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A family such as nsf, a recipe or preset such as glow/digits, the folder of a run or preset, "
            "hf://user/name, or a .keras file.",
        ),
    ] = None,
    cite: Annotated[bool, typer.Option("--cite", help="The paper of NAME as BibTeX, and no more.")] = False,
    backend: Backend = None,
):
    """Versions, engine, devices and precision, for a bug report; of NAME, what is in it and its paper."""
    use(backend)
    from flowkit.cli.info import run as show

    show(name, cite=cite)
