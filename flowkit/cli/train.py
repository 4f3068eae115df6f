"""`flowkit train`: from a recipe to a folder with everything that came of it."""

import contextlib
import functools
from pathlib import Path

from flowkit import data, distributed, recipes, training
from flowkit.cli import image_run, interrupt, table_run
from flowkit.cli.busy import note_busy_processors
from flowkit.cli.evaluate import check_fits
from flowkit.cli.failure import CommandError, say
from flowkit.cli.group import alike, on_main, share_signal
from flowkit.cli.mean_and_error import mean_and_error
from flowkit.cli.no_card import note_missing_card
from flowkit.cli.run_folder import RunFolder
from flowkit.distributed.failed import naming_the_lost
from flowkit.training.live_log import TARGETS, require
from flowkit.training.progress import Patience

_LATENTS = 256  # images or rows whose latents a --log shows


def run(name, *, source, epochs, precision, workers, out, resume, settings, logs):
    check_logs(logs)
    recipe = recipes.read_recipe(name, overrides(settings, source, epochs, precision))
    recipe = recipes.for_workers(recipe, workers)
    folder = RunFolder(out or Path("runs") / _default_folder(name))
    with contextlib.ExitStack() as held, naming_the_lost():

        def claim():
            if resume:
                folder.check_resumable()
            held.enter_context(folder.held())
            folder.check(recipe, resume)

        on_main(claim)
        with said_meanwhile("reading the data and adapting the flow to them"):
            experiment = recipes.prepare(recipe)
        held_out = validation(experiment)
        checkpoint = training.Resume(
            folder.checkpoint,
            callbacks=[] if held_out is None else [held_out],
            data_seed=recipe.training.seed,
            batches=experiment.batches,
            minutes=recipe.training.checkpoint_minutes,
            stop=interrupt.heard,
        )
        alike(lambda: checkpoint.load(experiment.flow))
        # Nothing in the folder has changed so far, since all of that may refuse.
        on_main(lambda: folder.begin(recipe))
        if distributed.is_main():
            note_missing_card()
            note_busy_processors()
        progress = fit(experiment, folder, checkpoint, resumed=resume, logs=logs)
        scores, draw = scored(experiment), functools.partial(image_run.drawn, experiment)
        if distributed.world() > 1:
            flow = kept(experiment)  # in all, since it may be the group's
            on_main(lambda: folder.save_flow(flow))  # now, since one that is lost while they draw ends all
            picture = draw()
            draw = lambda: picture  # noqa: E731
            del flow
        main = distributed.is_main()
        distributed.stop()  # what is left is the work of one process, and nobody waits for it
        if not main:
            return
        if recipes.of_tables(recipe):
            table_run.finish(experiment, folder, kept(experiment), progress, held_out, scores)
        else:
            image_run.finish(experiment, folder, kept(experiment), progress, held_out, scores, draw)


def said_meanwhile(line):
    """A scope that is told in one line if it takes long, by the main process."""
    if not distributed.is_main():
        return contextlib.nullcontext()
    return Patience(lambda: print(line, flush=True))


def overrides(settings, source, epochs, precision):
    """--set, --data, --epochs and --precision, as the recipe takes them."""
    settings = [recipes.Override.parse(setting) for setting in settings]
    if source is not None:
        source = data.absolute(source)  # so that the run can go on from another folder
        settings.append(recipes.Override("data.source", source, label="--data"))
    for key, value in {"epochs": epochs, "precision": precision}.items():
        if value is not None:
            settings.append(recipes.Override(f"training.{key}", value, label=f"--{key}"))
    return settings


def check_logs(names):
    """Raise a CommandError for a --log that is none, and ImportError if its package is missing."""
    for name in names:
        if name not in TARGETS:
            raise CommandError(f"--log: expected one of {', '.join(TARGETS)}, received {name!r}")
        require(name)


def validation(experiment):
    """The callback that scores what the recipe holds out, or None."""
    table, held_out = experiment.recipe.training, experiment.validation
    if held_out is None:
        return None
    how = {"early_stopping": table.early_stopping or None, "keep_best": table.keep_best}
    if recipes.of_tables(experiment.recipe):
        return training.Validation(held_out.values, **how)
    return training.Validation(held_out.images, experiment.context(held_out), **how)


def fit(experiment, folder, checkpoint, resumed=False, logs=()):
    """Train from the checkpoint that is loaded, or from the start, to the recipe's last epoch."""
    table, sampling = experiment.recipe.training, experiment.recipe.sampling
    done, step = checkpoint.epochs_done, experiment.batches.step
    if not distributed.is_main():
        pass
    elif done or step:
        place = f"step {step} of epoch {done + 1}" if step else f"epoch {done}"
        print(f"going on from {place} of {folder.path}", flush=True)
    elif resumed:
        say(f"note: {folder.path} holds no checkpoint yet: from the start")
    images = not recipes.of_tables(experiment.recipe)
    progress = training.ProgressBar(table.batch_size, of="images" if images else "rows")
    draws = sampling.count and images
    callbacks = [
        training.StopWhenDiverged(table.patience),
        *checkpoint.callbacks,
        *([training.SampleGrid(folder.samples_folder, **image_run.picture(experiment))] if draws else []),
        training.CSVLog(folder.log),
        progress,
    ]
    live = [training.Log(name, folder.logs / name, **_logged(experiment)) for name in dict.fromkeys(logs)]
    callbacks += live
    try:
        with interrupt.between_steps():
            # The checkpoint comes last: the epoch's other files are there when it counts as done.
            checkpoint.fit(experiment.flow, table.epochs, callbacks)
    except training.TrainingStopped as stopped:
        share_signal()
        told = f"{interrupt.words()} {stopped.place}; --resume goes on from there, in {folder.path}"
        ended = CommandError(told if distributed.is_main() else "", interrupt.exit_code())
        ended.told_to_all = True
        raise ended from None
    except KeyboardInterrupt:
        raise CommandError(
            f"{interrupt.words()}; --resume goes on from the last checkpoint in {folder.path}",
            interrupt.exit_code(),
        ) from None
    finally:
        progress.close()
        for log in live:
            log.close()
    interrupt.check()
    if distributed.is_main() and any(callback.stopped_epoch for callback in checkpoint.callbacks):
        (held_out,) = checkpoint.callbacks
        print(f"stopped early: no better validation score since epoch {held_out.best_epoch + 1}", flush=True)
    return progress


def scored(experiment):
    """{split: (mean, standard error)} of what was not trained on, of which each process scores its part.

    In bits/dim, of tables -log p in nats; `fit` has left the weights to keep in place.
    """
    flow, scores = experiment.flow, {}
    for split, rows in (("test", experiment.test), ("validation", experiment.validation)):
        if rows is None:
            continue
        if recipes.of_tables(experiment.recipe):
            given = table_run.in_order(flow, rows), None
        else:
            check_fits(flow, rows)
            given = rows.images, experiment.context(rows)
        scores[split] = mean_and_error(flow._score_in_a_group(*given)[1])
    return scores


def kept(experiment):
    """The flow to keep, of its own: a compiled one would carry the optimizer's moments, three times the size."""
    flow = recipes.build_flow(experiment.recipe, experiment.train)
    flow.set_weights(experiment.flow.get_weights())
    return flow


def _logged(experiment):
    """What `training.Log` is told."""
    recipe, test = experiment.recipe, experiment.test
    told = {
        "batch_size": recipe.training.batch_size,
        "config": {
            f"{table}.{key}": value for table, keys in recipe.tables().items() for key, value in keys.items()
        },
    }
    if recipes.of_tables(recipe):
        return {**told, "of": "rows", "latents": test.values[:_LATENTS]}
    context = experiment.context(test)
    context = None if context is None else context[:_LATENTS]
    picture = image_run.picture(experiment)
    return {
        **told,
        "samples": picture.pop("count"),
        **picture,
        "latents": test.images[:_LATENTS],
        "context": context,
    }


def _default_folder(name):
    return Path(name).stem if Path(name).suffix == ".toml" else name.replace("/", "-")
