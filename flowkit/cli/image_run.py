"""What comes of a run on images: numbers in bits per dimension, and a picture of samples."""

import math

from flowkit import distributed, recipes, training
from flowkit.cli import epoch_log, interrupt
from flowkit.cli.failure import FAILED, CommandError, say, words
from flowkit.distributed import ProcessLost


def drawn(experiment):
    """The grid of samples at the end, of which each process decodes its part; None if there is to be none.

    If it fails there is a note and no picture: what was trained for days does not hang on it.
    """
    if recipes.of_tables(experiment.recipe) or not experiment.recipe.sampling.count:
        return None
    try:
        return training.sample_grid(experiment.flow, **picture(experiment), spread=True)
    except ProcessLost:
        raise
    except Exception as error:
        interrupt.check()  # an engine may make another error of Ctrl-C
        if distributed.is_main():
            say(f"note: there is no picture of samples: {words(error)[0]}")
        return None


def finish(experiment, folder, flow, progress, held_out, scores, draw):
    """Save the flow, its numbers, `scores` among them, and its pictures: last what `draw()` gives, or None."""
    recipe, test = experiment.recipe, experiment.test
    folder.save_flow(flow)
    log = training.read_log(folder.log)
    if not log:
        say(f"note: {folder.log} holds no epochs: its curve and numbers are left out")
    training.save_curves(folder.curves, *epoch_log.curves(log, "bits_per_dim", held_out))
    mean, error = scores["test"]
    told = epoch_log.told(recipe, log, held_out)
    if held_out is not None:
        told["validation_bits_per_dim"], told["validation_standard_error"] = scores["validation"]
        told["validation_images"] = len(experiment.validation)
    if hasattr(flow, "label_log_prob"):
        told["test_label_error"] = float((flow.label_log_prob(test.images).argmax(-1) != test.labels).mean())
    folder.save_metrics(
        {
            "test_bits_per_dim": mean,
            "test_standard_error": error,
            "test_images": len(test),
            **told,
            "train_bits_per_dim": epoch_log.kept(log, held_out).get("bits_per_dim"),
            "train_images": len(experiment.train),
            **epoch_log.of_the_run(experiment, flow, log, progress, "images"),
        }
    )
    print(f"test bits/dim {mean:.4f} +- {error:.4f}")
    if (grid := draw()) is not None:
        training.save_png(folder.samples, training.enlarged(grid))
        print(f"samples {folder.samples}")
    if not math.isfinite(mean):
        raise CommandError(
            f"{folder.path} has diverged: its test bits/dim is {mean}; train anew with a smaller learning rate, a "
            "longer warm-up or a clip_norm",
            FAILED,
        )


def picture(experiment):
    """What `training.sample_grid` is asked for."""
    sampling = experiment.recipe.sampling
    return {
        "count": sampling.count,
        "classes": experiment.classes,
        "temperature": sampling.temperature,
        "levels": experiment.train.levels,
    }
