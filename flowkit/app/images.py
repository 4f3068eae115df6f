"""The methods of recipes, runs and flows that differ for stored images. `Tables` has the same methods."""

import inspect
import math
from dataclasses import replace

import numpy as np

from flowkit import data, distributed, training, zoo
from flowkit.app.failure import RecipeError
from flowkit.data.bounded import FileError
from flowkit.flow import scoring

_LATENTS = 256  # images whose latents a --log shows
_LOOKED_AT = 64  # images, for the recipe `images`
_LARGEST, _USUAL = 64, 32  # the side up to which images of one size keep it, and that of all others
_MOST_CLASSES = 50
_CLASSIFIED = 500  # images, each of which is scored given every class


class Images:
    """A recipe or a flow of stored images."""

    rows, samples = "images", "grid.png"
    score, in_print = "bits_per_dim", "bits/dim"  # in metrics.json, and as a name
    logged, sign = "bits_per_dim", 1  # the loss in log.csv; the score is `sign` times the loss
    unit, ylabel = "", "bits/dim"

    # [data] and [model]

    def load(self, recipe, split):
        """Return "train" or "test" as whole images, "train" with what is held out of it."""
        table = recipe.data
        how = {"size": table.size, "channels": table.channels, "limit": table.limit}
        return data.load(table.source, split, **how, in_memory=distributed.world() == 1)

    def trimmed(self, recipe, dataset):
        """Return `dataset` with one square of each image, always the same, if the recipe has a `crop`."""
        if recipe.data.crop is None:
            return dataset
        images, side = dataset.images, recipe.data.crop
        top, left = data.augment.corners(images.shape, side, np.random.default_rng(0))

        def squares(rows):
            return data.augment.cut(images[rows], side, top[rows], left[rows])

        if isinstance(images, data.LazyImages):
            shape = (len(images), side, side, images.shape[3])
            return replace(dataset, images=data.LazyImages(squares, shape))
        return replace(dataset, images=squares(slice(None)))

    def make(self, recipe, dataset, given):
        """Return a flow with arguments given in [model], and with those that follow from the data, if they are here."""
        table, family = recipe.data, zoo.ARCHITECTURES[recipe.model["name"]]
        if dataset is None:
            (height, width), channels = table.size or (32, 32), table.channels or 3
        else:
            if "data_levels" in inspect.signature(family).parameters and dataset.levels != 256:
                given = {"data_levels": dataset.levels, **given}
            _check_labels(dataset, given.get("num_classes"))
            height, width, channels = dataset.images.shape[1:]
        return family(**given, input_shape=(table.crop or height, table.crop or width, channels))

    def inferred(self, source):
        """Return {key: value} of the recipe `images` by its data, such as {"model.levels": 3}."""
        try:
            found = data.load(source, limit=_LOOKED_AT)
        except FileError:  # of several sizes, or too large to be held as they are
            found = data.load(source, limit=_LOOKED_AT, size=_USUAL)
        images = found.images
        height, width, channels = images.shape[1:]
        sides = [height, width] if max(height, width) <= _LARGEST else [_USUAL, _USUAL]
        size = [side - side % 8 if side >= _USUAL else max(4, side - side % 4) for side in sides]
        values = {"data.size": size, "model.levels": 3 if min(size) >= _USUAL else 2}
        if channels == 3:  # which files may have for grey pictures too
            values["data.channels"] = 3 if (images != images[..., :1]).any() else 1
        if found.levels == 256:
            values["model.n_bits"] = 5
        if found.labels is not None and 1 < (classes := 1 + int(found.labels.max())) <= _MOST_CLASSES:
            values["model.num_classes"] = len(found.classes or range(classes))
        return values

    # [training]

    def to_train(self, recipe, flow, train):
        """Return (images, labels of a class-conditional model, what augments a batch)."""
        labels = None if recipe.model.get("num_classes") is None else train.labels
        return train.images, labels, _augmentations(recipe)

    def adapt(self, recipe, flow, train, *others):
        """Adapt the flow to some images, augmented as in training; check the others."""
        for dataset in others:
            self.given(flow, dataset)
            _check_labels(dataset, recipe.model.get("num_classes"))
        table = recipe.training
        rng = np.random.default_rng(table.seed)
        rows = distributed.mine(rng.permutation(len(train))[: table.adapt_batch])  # `adapt` sees those of all
        first = train.images[rows]
        for function in _augmentations(recipe):
            first = function(first, rng)
        flow.adapt(first, None if recipe.model.get("num_classes") is None else train.labels[rows])

    def pictures(self, experiment, folder):
        """Return the callbacks that draw samples after each epoch."""
        if not experiment.recipe.sampling.count:
            return []
        return [training.SampleGrid(folder.samples_folder, **_picture(experiment))]

    def live(self, experiment):
        """Return the arguments of `training.Log` that show images."""
        picture = _picture(experiment)
        images, labels, _ = self.to_train(experiment.recipe, experiment.flow, experiment.test)
        return {
            "samples": picture.pop("count"),
            **picture,
            "latents": images[:_LATENTS],
            "context": None if labels is None else labels[:_LATENTS],
        }

    def drawn(self, experiment):
        """Return the grid of samples at the end, of which each process decodes its part, or None."""
        if not experiment.recipe.sampling.count:
            return None
        return training.sample_grid(experiment.flow, **_picture(experiment), spread=True)

    def draw(self, experiment, folder, flow, drawn):
        """Save the picture of samples at the end of a run."""
        if drawn is not None:
            training.save_png(folder.samples, training.enlarged(drawn))
            print(f"samples {folder.samples}")

    def more_metrics(self, experiment, flow):
        """Return what metrics.json says of images alone, and print if the density given the right class is largest."""
        test, metrics = experiment.test, {}
        if hasattr(flow, "label_log_prob"):
            missed = flow.label_log_prob(test.images).argmax(-1) != test.labels
            metrics["test_label_error"] = float(missed.mean())
        if flow.context_kind == "required" and flow.num_classes <= _MOST_CLASSES:
            rows = np.random.default_rng(0).permutation(len(test))[:_CLASSIFIED]
            right = likeliest_classes(flow, test.take(rows).images) == test.labels[rows]
            metrics["test_class_accuracy"] = float(right.mean())
            print(
                f"test class by likelihood right for {right.mean():.1%} of {len(rows)} images, "
                f"by chance for {1 / flow.num_classes:.1%}"
            )
        return metrics

    # A trained flow and data

    def of_source(self, flow, source, split):
        """Return images of `source`, brought to the size of the flow's."""
        height, width, channels = flow.event_shape
        return data.load(source, split, size=(height, width), channels=channels)

    def given(self, flow, dataset):
        """Return (images, labels or None) as the flow takes them; raise a RecipeError for images of another kind."""
        if flow.dequantize is None or (flow.context_kind == "required" and flow.num_classes is None):
            raise RecipeError(
                "the flow takes continuous values, or a context that is no class; files hold neither: pass arrays in "
                "Python, flow.log_prob(x, context) or flowkit.diagnostics.report(flow, x, context)"
            )
        if (stored := stored_levels(flow)) != dataset.levels:
            raise RecipeError(
                f"{dataset.name}: got {dataset.levels} levels, expected the {stored} that the flow was trained on. "
                f"Bits/dim of other levels mean something else: give images of {stored}, or train another flow on these"
            )
        if (shape := dataset.images.shape[1:]) != tuple(flow.event_shape):
            raise RecipeError(
                f"{dataset.name}: got images of {shape}, expected the {flow.event_shape} that the flow was trained on. "
                "data.size and data.channels bring all to one size"
            )
        if flow.context_kind != "required":
            return dataset.images, None
        _check_labels(dataset, flow.num_classes)
        return dataset.images, dataset.labels

    def outside(self, flow, source):
        """Return (images, labels or None) of another kind, brought to the size and the levels of the flow's own."""
        dataset = self.of_source(flow, source, "test")
        top = stored_levels(flow) - 1
        images = np.round(dataset.images.astype("float64") * top / (dataset.levels - 1)).astype("uint8")
        if flow.context_kind != "required":
            return images, None
        # No class is right for other data: each image gets one by chance.
        return images, np.random.default_rng(0).integers(0, flow.num_classes, len(images))

    def mean_score(self, flow, images, labels, samples=1):
        """Return the mean bits per dimension, and its standard error; each process scores its part."""
        loss, bits = scoring.score_in_a_group(flow, images, labels, samples=samples)
        if loss != "bits_per_dim":  # in nats for each image
            bits = bits / (math.prod(flow.event_shape) * math.log(2))
        return mean_and_error(bits)


def likeliest_classes(flow, images):
    """Return argmax_y p(image | y) of a class-conditional flow, (n,); noise is the same given each class."""
    given_each = [flow.log_prob(images, np.full(len(images), label)) for label in range(flow.num_classes)]
    return np.argmax(given_each, axis=0)


def stored_levels(flow):
    """Return the number of values of an entry of the flow's images; a dequantizer of one's own may not say it."""
    return getattr(flow.dequantize, "stored_levels", 256)


def mean_and_error(scores):
    """Return the mean over rows, and its standard error s / sqrt(n)."""
    with np.errstate(invalid="ignore"):  # the caller reports what is not finite
        error = scores.std(ddof=1) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        return float(scores.mean()), float(error)


def _augmentations(recipe):
    """Return what happens to a batch of training images: functions of (images, rng), in their order."""
    crop = [] if recipe.data.crop is None else [data.augment.crop(recipe.data.crop)]
    return crop + [getattr(data.augment, name)() for name in recipe.data.augment]


def _picture(experiment):
    sampling = experiment.recipe.sampling
    return {
        "count": sampling.count,
        "classes": experiment.recipe.model.get("num_classes"),
        "temperature": sampling.temperature,
        "levels": experiment.train.levels,
    }


def _check_labels(dataset, classes):
    """Raise a RecipeError if images of a class-conditional flow have no labels, or others than the flow's."""
    if classes is None:
        return
    if dataset.labels is None:
        found = "no labels, as a folder for the images of each class gives them"
    elif dataset.labels.max() >= classes:
        found = f"labels up to {dataset.labels.max()}: --set model.num_classes={dataset.labels.max() + 1}"
    else:
        return
    raise RecipeError(f"model.num_classes = {classes}, but {dataset.name} has {found}")
