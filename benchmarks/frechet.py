"""How far samples of flows are from images, as a Fréchet distance on features of a small classifier trained here.

    python benchmarks/frechet.py glow/fashion-mnist runs/flow_matching/fashion-mnist --temperatures 1

It is |m - m'|^2 + trace(C + C' - 2 (C C')^(1/2)) of the means and covariances of the 64 features, which are those of a
convolutional classifier of Fashion-MNIST, trained on the embedded images. It is not the FID, whose features are of
another network, and compares with figures of this script alone. The distance of the training images from the test
images, as many, is the floor. Each flow is drawn at the temperature of its recipe, and at those that are asked for.
Stores frechet.json.
"""

import argparse
import itertools
import json
from pathlib import Path

import keras
import numpy as np

import flowkit  # before Keras, which chooses its backend on import
from flowkit.app.trained import trained

FILE = Path(__file__).with_name("frechet.json")
FEATURES, EPOCHS = 64, 12


def train_classifier(data, test):
    """Return (the network of features, the share of test images that the classifier gets right)."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input(data.images.shape[1:]), keras.layers.Rescaling(1 / 255)]
    for width in (16, 32):
        layers += [keras.layers.Conv2D(width, 3, activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(FEATURES, activation="relu")]
    features = keras.Sequential(layers)
    model = keras.Sequential([features, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(data.images, data.labels, batch_size=64, epochs=EPOCHS, verbose=0)
    return features, float(model.evaluate(test.images, test.labels, verbose=0)[1])


def distance(first, second):
    """Return the Fréchet distance of the normal distributions with the moments of two arrays of rows."""
    means = [rows.mean(axis=0) for rows in (first, second)]
    covariances = [np.cov(rows, rowvar=False) for rows in (first, second)]
    # By eigenvalues, since features that are 0 for all images make the product singular.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0))
    return float(np.square(means[0] - means[1]).sum() + np.trace(sum(covariances)) - 2 * roots.sum())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("flows", nargs="+", help="Folders of runs, or names of presets.")
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[], help="Also with so many steps of the solver."
    )
    parser.add_argument(
        "--temperatures", type=float, nargs="*", default=[], help="Also at these temperatures."
    )
    options = parser.parse_args()
    data, test = (flowkit.data.load("fashion-mnist", split) for split in ("train", "test"))
    network, accuracy = train_classifier(data, test)

    def features(images):
        return network.predict(images, batch_size=250, verbose=0).astype("float64")

    count, real = len(test.images), features(test.images)
    found = {"classifier's test accuracy": accuracy, "images": count}
    found["distances"] = {"training images": distance(features(data.images[:count]), real)}
    for name in options.flows:
        run = trained(name)
        flow, recipe = run.load_flow(), run.recipe()
        own = 1.0 if recipe is None else recipe.sampling.temperature
        temperatures = dict.fromkeys([own, *options.temperatures])
        for temperature, steps in itertools.product(temperatures, [None, *options.steps]):
            more = {} if steps is None else {"steps": steps}
            samples = flow.sample(count, seed=0, temperature=temperature, check=None, **more)
            label = "/".join(Path(name).parts[-2:]) + f", temperature {temperature}"
            label += "" if steps is None else f", {steps} steps"
            found["distances"][label] = distance(features(samples), real)
            print(label, round(found["distances"][label], 2), flush=True)
    others = json.loads(FILE.read_text()) if FILE.exists() else {}  # such as what a run took
    FILE.write_text(json.dumps(others | found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
