"""Each card says how many parameters the flows of its recipes have: as many as those of the published code."""

import itertools
import math
from pathlib import Path

import pytest

from flowkit import data, zoo
from flowkit._shipped import recipe_files
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe

CARDS = Path(__file__).parents[2] / "zoo"
# Arguments that say how often a part is repeated: small models give the size of a large one without making its weights.
DEPTHS = {
    "flow_pp": ("blocks", "dequantizer_blocks"),
    "glow": ("steps",),
    "jet": ("depth", "block_depth"),
    "maf_images": (),
    "realnvp_images": ("blocks",),
    "tarflow": ("blocks", "depth"),
}
NAMES = [name for name in recipe_files() if name.split("/")[0] in DEPTHS]
GREY = "glow/mnist"  # the recipe without a size of its own whose images are not 32x32x3
PUBLISHED = {  # in the published code, or counted by hand from the layers that the paper describes
    "flow_pp/cifar10": 31_443_440,
    "flow_pp/imagenet32": 168_955_724
    - 354_438,  # scales of weight normalisation, one for each output of a convolution
    "flow_pp/imagenet64": 73_489_960
    - 4 * 64 * 32 * 96,  # places of 4 networks without attention, all the same vectors
    "glow/celeba-hq-256": 175_099_620,
    "glow/cifar10": 44_603_604,
    "glow/cifar10-additive": 38_395_668,
    "glow/imagenet32": 66_861_588,
    "glow/imagenet64": 112_377_540,
    "jet/imagenet64": 207_177_216,
    "realnvp_images/cifar10": 5_998_508,
    "tarflow/imagenet64": 460_142_784,
    "tarflow/imagenet64-samples": 466_286_784,
}


def stored_shape(name, recipe):
    """(height, width, channels) of the user's images."""
    if recipe.data.source == "fashion-mnist-full":  # a package of Debian's, which need not be there
        return 28, 28, 1
    if recipe.data.source in data.NAMES:
        return load_data(recipe, "test").images.shape[1:]
    height, width = recipe.data.size or ([28] if name == GREY else [32]) * 2
    return height, width, recipe.data.channels or (1 if name == GREY else 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_how_many_parameters_a_recipe_has(name):
    recipe, family = read_recipe(name), name.split("/")[0]
    options = {key: value for key, value in recipe.model.items() if key != "name"}
    *sides, channels = stored_shape(name, recipe)
    options["input_shape"] = (*(recipe.data.crop or side for side in sides), channels)
    depths = {key: options[key] for key in DEPTHS[family]}
    count = 0
    for corner in itertools.product((1, 2), repeat=len(depths)):  # the size is linear in each depth
        flow = zoo.ARCHITECTURES[family](**options | dict(zip(depths, corner, strict=True)))
        shares = [2 - n if at == 1 else n - 1 for at, n in zip(corner, depths.values(), strict=True)]
        count += math.prod(shares) * sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    card = (CARDS / family / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in card.splitlines() if line.startswith((f"| `{name}` |", f"| [`{name}`]"))]
    assert f"| {count:,} |" in row
    assert PUBLISHED.get(name, count) == count
