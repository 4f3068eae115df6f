"""Train normflows' Glow as a recipe trains flowkit's: the same images in the same batches, sizes, rate and steps.

    KERAS_BACKEND=torch flowkit train glow/fashion-mnist-full --out runs/flowkit
    KERAS_BACKEND=torch python benchmarks/beside_normflows.py glow/fashion-mnist-full --out runs/normflows

What differs is the model: see `contenders/normflows.py`; nothing bounds its scales from below, so `min_scale` of a
recipe is flowkit's alone. Adam, warm-up, cosine, clipping and averaged weights are the recipe's, by torch's own means,
and images are scored with the noise that flowkit scores them with. Writes log.csv, metrics.json and samples.png.
"""

import argparse
import csv
import inspect
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from contenders.normflows import glow
from contenders.on_torch import DEVICE
from tqdm import tqdm

from flowkit import data, training, zoo
from flowkit.app.recipe import read_recipe
from flowkit.contract.noise import Need
from flowkit.flow.rows import counted

SAMPLES_FOR_COUNT = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    given = {
        "data.source": options.data,
        "training.epochs": options.epochs,
        "training.learning_rate": options.learning_rate,
    }
    changes = [(key, value) for key, value in given.items() if value is not None]
    recipe = read_recipe(options.recipe, changes)
    refuse_what_is_not_done_here(recipe, parser)
    options.out.mkdir(parents=True)
    train, test = (data.load(recipe.data.source, split) for split in ("train", "test"))
    torch.manual_seed(recipe.training.seed)
    model = glow(train.images.shape[1:], **{key: recipe.model[key] for key in ("levels", "steps", "width")})
    adapt(model, train, recipe.training)
    started = time.perf_counter()
    averaged = fit(model, train, recipe.training, options.out / "log.csv").module
    seconds = time.perf_counter() - started
    bits = evaluate(averaged, test)
    metrics = {
        "test_bits_per_dim": float(bits.mean()),
        "test_standard_error": float(bits.std(ddof=1) / math.sqrt(len(bits))),
        "overflowing_samples": overflowing(averaged),
        "samples": SAMPLES_FOR_COUNT,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_seconds": seconds,
    }
    print(json.dumps(metrics, indent=1))
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=1))
    pictures = draw(averaged, recipe.sampling.count, recipe.sampling.temperature)
    training.save_png(options.out / "samples.png", training.image_grid(pictures))


def refuse_what_is_not_done_here(recipe, parser):
    table, images = recipe.training, recipe.data
    plain = {
        "training.optimizer": table.optimizer == "adam",
        "training.schedule": table.schedule == "cosine",
        "training.ema": bool(table.ema),
        "training.clip_norm": bool(table.clip_norm),
        "training.warmup_epochs": not table.warmup_epochs,
        "training.epoch_steps": not table.epoch_steps,
        "training.precision": table.precision == "float32",
        "data": not any([images.size, images.channels, images.limit, images.crop, images.augment]),
        **{f"model.{key}": recipe.model[key] == default for key, default in published().items()},
    }
    refused = [key for key, fits in plain.items() if not fits]
    if refused:
        parser.error(f"{', '.join(refused)} of this recipe: not done here")


def published():
    """What zoo.glow is unless told otherwise, but for what both can be told."""
    free = ("input_shape", "levels", "steps", "width", "min_scale")
    parameters = inspect.signature(zoo.glow).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name not in free}


def continuous(images, noise=None):
    """As flowkit's `Dequantize` on images of 256 values, channels first."""
    x = torch.as_tensor(images, dtype=torch.float32, device=DEVICE)
    noise = torch.rand_like(x) if noise is None else torch.as_tensor(noise, device=DEVICE)
    return ((x + noise) / 256 - 0.5).permute(0, 3, 1, 2).contiguous()


def bits_per_dim(model, x):
    return 8 - model.log_prob(x, None) / (x[0].numel() * math.log(2))


@torch.no_grad()
def adapt(model, train, table):
    """normflows' ActNorm takes its statistics from its first batch: here from the images that flowkit takes."""
    rows = np.random.default_rng(table.seed).permutation(len(train))[: table.adapt_batch]
    model.log_prob(continuous(train.images[rows]), None)


def fit(model, train, table, log):
    """Train; returns the averaged model. Nothing is skipped: a step that is not finite shows in the log."""
    batches = data.batches(train.images, batch_size=table.batch_size, seed=table.seed)
    total = table.epochs * len(batches)
    rate = training.WarmUpCosine(table.learning_rate, warmup_steps=table.warmup_steps, total_steps=total)
    optimizer = torch.optim.Adam(model.parameters(), 1.0, eps=1e-7, fused=True)  # Keras's epsilon
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(table.ema)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)
    with open(log, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "bits_per_dim", "seconds"])
        for epoch in range(table.epochs):
            batches.epoch, losses, started = epoch, [], time.perf_counter()
            for index in tqdm(range(len(batches)), desc=f"epoch {epoch + 1}", mininterval=30):
                for group in optimizer.param_groups:
                    group["lr"] = float(rate(epoch * len(batches) + index))
                x = continuous(batches[index][0])
                optimizer.zero_grad(set_to_none=True)
                loss = bits_per_dim(model, x).mean()
                # flowkit's loss, which the clipping refers to, is in nats for an image.
                (loss * x[0].numel() * math.log(2)).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), table.clip_norm)
                optimizer.step()
                averaged.update_parameters(model)
                losses.append(loss.item())
            rows.writerow([epoch + 1, np.mean(losses), time.perf_counter() - started])
            file.flush()
    return averaged


@torch.no_grad()
def evaluate(model, test, batch=256):
    bits = []
    for start in range(0, len(test), batch):
        images = test.images[start : start + batch]
        noise = counted((Need("uniform", images[0].size),), start, start + len(images)).reshape(images.shape)
        bits.append(bits_per_dim(model, continuous(images, noise)).cpu().numpy())
    return np.concatenate(bits)


@torch.no_grad()
def draw(model, count, temperature):
    """Images as stored; what is not a number is black."""
    x, _ = model.sample(count, temperature=temperature)
    values = ((torch.nan_to_num(x, nan=-0.5) + 0.5) * 256).floor().clamp(0, 255)
    return values.permute(0, 2, 3, 1).byte().cpu().numpy()


@torch.no_grad()
def overflowing(model):
    """How many samples at temperature 1 are not finite."""
    x, _ = model.sample(SAMPLES_FOR_COUNT)
    return int((~torch.isfinite(x).flatten(1).all(1)).sum())


if __name__ == "__main__":
    main()
