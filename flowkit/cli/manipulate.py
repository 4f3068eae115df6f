"""`flowkit manipulate`: images moved from one class of the data towards another."""

import numpy as np

from flowkit import latent, recipes
from flowkit.cli.evaluate import check_fits
from flowkit.cli.failure import CommandError
from flowkit.cli.strip import read_images, save_strip
from flowkit.cli.trained import trained


def run(path, images, *, from_class, to_class, amounts, output, limit, source):
    folder = trained(path)
    recipe, flow = folder.recipe(source), folder.load_flow()
    if recipe.model.get("num_classes") is not None:
        raise CommandError(
            "the flow is class-conditional: the class is given to it, not found in its latents"
        )
    images = read_images(images, flow)
    dataset = recipes.load_data(recipe, "train")
    check_fits(flow, dataset)
    start, goal = (
        class_number(dataset, from_class, "--from-class"),
        class_number(dataset, to_class, "--to-class"),
    )
    if start == goal:
        raise CommandError(f"--to-class: expected another class than --from-class, received {to_class} twice")
    rows = np.concatenate([np.flatnonzero(dataset.labels == label)[:limit] for label in (start, goal)])
    direction = latent.attribute_direction(flow, dataset.images[rows], dataset.labels[rows] == goal)
    output = output or folder.path / "manipulated.png"
    save_strip(output, latent.manipulate(flow, images, direction, amounts), flow)
    print(f"manipulation {output}  (direction of {len(rows)} images of {dataset.name})")


def class_number(dataset, word, option):
    """The label that `word` names: a number, or one of the data's class names in any case."""
    if dataset.labels is None:
        raise CommandError(
            f"{option}: {dataset.name} has no labels to learn a direction from: images of each class lie "
            "in a folder of its name, inside of the one that --data names"
        )
    names = [name.lower() for name in dataset.classes or ()]
    if word.lower() in names:
        return names.index(word.lower())
    known = np.unique(dataset.labels).tolist()
    if word.isdigit() and int(word) in known:
        return int(word)
    expected = ", ".join(f"{n} ({dataset.classes[n]})" if names else str(n) for n in known)
    raise CommandError(f"{option}: expected one of {expected}, received {word!r}")
