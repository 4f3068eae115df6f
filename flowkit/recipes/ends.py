"""What only the end of an epoch, or of the run, would trip over is refused before training."""

from flowkit.recipes.schema import RecipeError

# A picture of more pixels takes gigabytes while it is put together.
_MOST_PIXELS = 2**26


def check_ends(recipe, flow, train, test):
    """Raise a RecipeError if samples could not be drawn as a picture, or the test images not be scored."""
    _check_picture(recipe, train, flow.event_shape)
    _check_test(recipe, flow, test)


def _check_picture(recipe, train, event):
    count, classes = recipe.sampling.count, recipe.model.get("num_classes")
    if not count:
        return
    height, width, channels = event
    if channels not in (1, 3):
        raise RecipeError(
            f"sampling.count = {count}: expected images of 1 or 3 channels to draw samples as, and those of "
            f"{train.name} have {channels}; data.channels = 1 or 3 brings them there, sampling.count = 0 draws none"
        )
    images = count if classes is None else classes * max(1, count // classes)
    if images * height * width > _MOST_PIXELS:
        more = "" if classes is None else f", at least one for each of {classes} classes,"
        raise RecipeError(
            f"sampling.count = {count}: expected at most {_MOST_PIXELS // (height * width)} samples{more} "
            f"of {width}x{height} in one picture, received {images} (--set sampling.count=0 draws none)"
        )


def _check_test(recipe, flow, test):
    received, expected = test.images.shape[1:], tuple(flow.event_shape)
    if received != expected:
        received, expected = ("x".join(map(str, shape)) for shape in (received, expected))
        raise RecipeError(
            f"{test.name}: expected test images like those to train on, {expected}, received {received}; "
            "data.size and data.channels bring all to one shape"
        )
    levels = None if flow.dequantize is None else flow.dequantize.stored_levels
    if levels not in (None, test.levels):
        raise RecipeError(
            f"model.data_levels = {levels}, but the images of {test.name} have {test.levels} levels"
        )
    classes = recipe.model.get("num_classes")
    if classes is not None and (test.labels is None or test.labels.max() >= classes):
        found = "no labels" if test.labels is None else f"labels up to {test.labels.max()}"
        raise RecipeError(f"model.num_classes = {classes}, but the test images of {test.name} have {found}")
