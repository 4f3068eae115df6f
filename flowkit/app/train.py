"""`flowkit train`: from a recipe to a folder with everything that came of it."""

import contextlib
import math
import re
from pathlib import Path
from typing import Annotated

import rich.console
from typer import Argument, Option

import flowkit
from flowkit.app import failure, interrupt
from flowkit.app.backend import note_missed_gpu, use
from flowkit.app.commands import Backend, Data, Force, Source, new_folder, one_of_both, recipe_names
from flowkit.app.failure import FAILED, CommandError, note, on_main, printable, progress, together
from flowkit.app.find import OWN, find


def train(
    recipe: Annotated[str, Argument(help="A recipe, by file or name.", autocompletion=recipe_names)],
    data: Source = None,
    data_: Data = None,
    backend: Backend = None,
    epochs: Annotated[int | None, Option(help="Epochs in all, in place of the recipe's.")] = None,
    seed: Annotated[
        int | None, Option(min=0, help="Of weights, order and noise, in place of the recipe's.")
    ] = None,
    precision: Annotated[str | None, Option(help="Of the networks: float32 or mixed_bfloat16.")] = None,
    output: Annotated[
        Path | None, new_folder("The folder to write. Default: runs/ and the recipe's name.", "--out")
    ] = None,
    workers: Annotated[int, Option(min=1, help="Workers whose batches make one step.")] = 1,
    resume: Annotated[bool, Option("--resume", help="Go on from the run's checkpoint.")] = False,
    force: Force = False,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="A value of the recipe: model.steps=8.")
    ] = None,
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run", help="Print the recipe with each value that --set may change, and types, and stop."
        ),
    ] = False,
    columns: Annotated[str | None, Option(help="Columns of a table to use: age,price.")] = None,
    drop: Annotated[str | None, Option(help="Columns of a table to leave out.")] = None,
    given: Annotated[str | None, Option(help="Columns that the others are conditioned on.")] = None,
    types: Annotated[
        list[str] | None, Option(metavar="COLUMN=TYPE", help="Types of columns: kind=category,share=[0,1].")
    ] = None,
    log: Annotated[
        list[str] | None, Option(metavar="NAME", help="Also log to tensorboard, wandb, mlflow or csv.")
    ] = None,
):
    """Train a flow from a recipe, evaluate it on the test split, and draw samples.

    In several processes: torchrun --nproc-per-node 8 -m flowkit train ...
    """
    data = one_of_both(data, data_, "data")
    find(recipe)  # a mistyped name is refused before the engine is loaded
    if recipe in OWN and data is None:
        raise CommandError(f"train {recipe}: got no --data, expected {OWN[recipe]}")
    if resume and force:
        raise CommandError("--force: got --resume too, expected one of them")
    use(backend, trains=True)
    from flowkit.app.experiment import for_workers, load
    from flowkit.app.images import Images
    from flowkit.app.recipe import dumps, read_recipe, setting, toml_value
    from flowkit.app.run_folder import RunFolder
    from flowkit.app.tables import Tables
    from flowkit.contract.arguments import one_of
    from flowkit.training.log import TARGETS, require

    for target in log or []:
        require(one_of("--log", target, tuple(TARGETS)))
    own_name = Path(recipe).stem if Path(recipe).suffix == ".toml" else recipe.replace("/", "-")
    folder = RunFolder(output or Path("runs") / own_name)
    # The path is absolute, so that the run can go on from another folder.
    source = data and flowkit.data.absolute(data)
    values = {"data.source": source, "training.epochs": epochs, "training.precision": precision}
    values["training.seed"] = seed
    lists = {"data.columns": columns, "data.drop": drop, "data.given": given}
    values |= {key: value and value.split(",") for key, value in lists.items()}
    each = [part for text in types or [] for part in _parts(text)]
    typed = [setting("--types", text, "COLUMN=TYPE, such as kind=category") for text in each]
    values |= {"data.types": dict(typed)} if typed else {}
    by_option = [(key, value) for key, value in values.items() if value is not None]
    own = {"images": Images, "table": Tables}[recipe]().inferred(data) if recipe in OWN else {}
    chosen = for_workers(read_recipe(recipe, [*own.items(), *(set_ or []), *by_option]), workers)
    if dry_run:
        if flowkit.distributed.is_main():
            print(dumps(chosen), end="")
            if recipe == "table":
                print("", *(f"# {line}" for line in _types(load(chosen, "train"))), sep="\n")
        return
    if own and flowkit.distributed.is_main():
        values = ", ".join(f"{key} = {toml_value(chosen.flat()[key])}" for key in own)
        progress(f"chosen by the data: {values}; --set changes them")
    _train(chosen, folder, resume, force, log or [])


def _types(table):
    """Return the lines of the table of the types of columns; none of a table without types."""
    lines = [] if table.typed is None else str(table.typed).splitlines()
    if table.given is not None:
        lines.append(f"given: {', '.join(map(str, table.given.names))}")
    return map(printable, lines)


def _parts(text):
    """Return the settings in `a=1,b=[0,1]`; the whole text if a part is none, as of a name with a comma."""
    parts = re.split(r",(?![^\[]*\])", text)
    return parts if all("=" in part for part in parts) else [text]


def _train(recipe, folder, resume, force, logs):
    from flowkit.app.experiment import build_flow, prepare

    main = flowkit.distributed.is_main()
    with contextlib.ExitStack() as held:
        on_main(lambda: folder.check(recipe, resume, force))
        if main:
            progress("reading the data and adapting the flow to them")
        experiment = prepare(recipe)
        if main and getattr(experiment.train, "typed", None):
            progress(*_types(experiment.train))
        held_out = _validation(experiment)
        checkpoint = flowkit.training.Resume(
            folder.path / "checkpoint.npz",
            callbacks=[] if held_out is None else [held_out],
            data_seed=recipe.training.seed,
            batches=experiment.batches,
            minutes=recipe.training.checkpoint_minutes,
            stop=interrupt.heard,
        )
        with together():
            if main:
                held.enter_context(folder.held())
                folder.check(recipe, resume, force)  # again: another process may have trained meanwhile
            if not force:
                checkpoint.load(experiment.flow)
        # Nothing in the folder has changed so far, since each of these may raise.
        on_main(lambda: folder.begin(recipe, force))
        if main:
            note_missed_gpu()
        bar = _fit(experiment, folder, checkpoint, resume, logs)
        if main and held_out is not None and held_out.stopped_epoch:
            best = f"epoch {held_out.best_epoch + 1}" if held_out.best_epoch >= 0 else "the start"
            progress(f"stopped early: no better validation score since {best}")
        kind, trained = experiment.kind, experiment.flow
        scores = {
            split: kind.mean_score(trained, *kind.given(trained, rows))
            for split, rows in experiment.scored.items()
        }
        # A flow that was not compiled: the optimizer's moments would make the file three times the size.
        flow = build_flow(recipe, experiment.train)
        flow.set_weights(trained.get_weights())
        on_main(lambda: _save(experiment, folder, flow, bar, held_out, scores))
        drawn = kind.drawn(experiment)  # last, since it may take more memory than there is
        flowkit.distributed.stop()
        if main:
            _judge(experiment, folder, flow)
            kind.draw(experiment, folder, flow, drawn)
        if main and not math.isfinite(mean := scores["test"][0]):
            raise CommandError(
                f"{folder.path} has diverged: its test {kind.in_print} is {mean}; train anew with a smaller learning "
                "rate, a longer warm-up or a clip_norm",
                FAILED,
            )


def _validation(experiment):
    """Return the callback that scores what the recipe holds out, or None."""
    table = experiment.recipe.training
    if experiment.validation is None:
        return None
    x, context, _ = experiment.kind.to_train(experiment.recipe, experiment.flow, experiment.validation)
    return flowkit.training.Validation(
        x, context, early_stopping=table.early_stopping or None, keep_best=table.keep_best
    )


def _fit(experiment, folder, checkpoint, resumed, logs):
    """Train from the checkpoint that is loaded, or from the start, to the recipe's last epoch."""
    recipe, kind, main = experiment.recipe, experiment.kind, flowkit.distributed.is_main()
    done, step = checkpoint.epochs_done, experiment.batches.step
    if main and (done or step):
        place = f"step {step} of epoch {done + 1}" if step else f"epoch {done}"
        progress(f"going on from {place} of {folder.path}")
    elif main and resumed:
        note(f"note: {folder.path} holds no checkpoint yet: from the start")
    table = recipe.training
    console = rich.console.Console(quiet=True) if failure.quiet else None
    bar = flowkit.training.ProgressBar(table.batch_size, of=kind.rows, console=console)
    shown = {"batch_size": table.batch_size, "config": recipe.flat(), **kind.live(experiment)} if logs else {}
    live = [flowkit.training.Log(name, folder.path / "logs" / name, **shown) for name in dict.fromkeys(logs)]
    callbacks = [
        flowkit.training.StopWhenDiverged(table.patience),
        *checkpoint.callbacks,
        *kind.pictures(experiment, folder),
        flowkit.training.CSVLog(folder.log),
        bar,
        *live,
    ]
    try:
        with interrupt.between_steps():
            # The checkpoint comes last: the epoch's other files are there when it counts as done.
            checkpoint.fit(experiment.flow, table.epochs, callbacks)
    except (flowkit.training.TrainingStopped, KeyboardInterrupt) as stopped:
        place = getattr(stopped, "place", "")
        if place:
            _share_signal()
        where = f"{interrupt.words()} {place}".strip()
        line = f"{where}; --resume goes on from the last checkpoint in {folder.path}"
        ended = CommandError(line, interrupt.exit_code())
        ended.told_to_all = bool(place)
        raise ended from None
    finally:
        bar.close()
        for logger in live:
            logger.close()
    interrupt.check()
    return bar


def _share_signal():
    """Record in all processes of the group the signal that ends the command: it may not have reached each."""
    if flowkit.distributed.world() > 1:
        with contextlib.suppress(Exception):  # of a group that has broken, which changes nothing any more
            heard = flowkit.distributed.gather([interrupt.heard() or 0]).max()
            interrupt.hear_of(int(heard) or None)


def _save(experiment, folder, flow, bar, held_out, scores):
    """Save the flow, its curves and its numbers, and print its test score."""
    from flowkit.app.info import facts
    from flowkit.training.atomic import atomic_path

    kind, training = experiment.kind, experiment.recipe.training
    log = flowkit.training.read_log(folder.log)
    with atomic_path(folder.flow_path) as temporary:
        flow.save(temporary)
    # Another objective than likelihood logs its loss alone, on a scale of its own.
    matched = training.loss != "likelihood"
    curves = {"train": "loss" if matched else kind.logged}
    curves |= {} if held_out is None or matched else {"validation": f"val_{kind.logged}"}
    curves = {curve: [row.get(key) for row in log] for curve, key in curves.items()}
    ylabel = "loss" if matched else kind.ylabel
    flowkit.training.save_curves(
        folder.path / "loss.png", [row["epoch"] for row in log], curves, ylabel=ylabel
    )
    chosen = held_out is not None and held_out.best_weights is not None
    kept_epoch = held_out.best_epoch + 1 if chosen else None
    kept = next((row for row in reversed(log) if kept_epoch in (None, row["epoch"])), {})
    loss = kept.get(kind.logged)
    metrics = {}
    for split, (mean, error) in scores.items():
        metrics |= {f"{split}_{kind.score}": mean, f"{split}_standard_error": error}
        metrics[f"{split}_{kind.rows}"] = len(experiment.scored[split])
    metrics |= {
        "epochs": log[-1]["epoch"] if log else training.epochs,
        **({"kept_epoch": kept_epoch} if chosen else {}),
        **kind.more_metrics(experiment, flow),
        f"train_{kind.score}": None if loss is None else kind.sign * loss,
        f"train_{kind.rows}": len(experiment.train),
        "data": experiment.test.name,
        "data_sha256": flowkit.data.content_hash(*experiment.splits),
        "skipped_steps": sum(row.get("skipped") or 0 for row in log),
        "parameters": sum(math.prod(weight.shape) for weight in flow.trainable_weights),
        "seconds": round(sum(row.get("seconds") or 0 for row in log), 3),
        f"{kind.rows}_per_second": round(bar.images_per_second, 1),
        "first_step_seconds": bar.first_step and round(bar.first_step, 3),
        **facts(),
        "precision": training.precision,
    }
    _write(folder, metrics)
    mean, error = scores["test"]
    print(f"test {kind.in_print} {mean:.4f} +- {error:.4f}{kind.unit}")


def _write(folder, metrics):
    from flowkit.training.atomic import atomic_path, json_text

    with atomic_path(folder.metrics) as temporary:
        temporary.write_text(json_text(metrics) + "\n", encoding="utf-8")


def _judge(experiment, folder, flow):
    """Print if a flow of rows is any good, and add it to metrics.json."""
    from flowkit.diagnostics.verdict import no_verdict, verdict

    if len(flow.event_shape) != 1:
        return
    test, train = (experiment.kind.given(flow, split) for split in (experiment.test, experiment.train))
    if no_verdict(flow, *test) is None:
        found = verdict(flow, *test, train=train[0], train_context=train[1])
        stored = {"sentence": found.sentence, "passed": found.passed, **found.numbers}
        _write(folder, folder.measured() | {"verdict": stored})
        print(f"verdict: {found}")
