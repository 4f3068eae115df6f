"""Train normflows' Glow as a recipe trains flowkit's: the same images, sizes, order, noise, rate and steps.

    KERAS_BACKEND=torch flowkit train glow/fashion-mnist-full --out runs/flowkit
    KERAS_BACKEND=torch python benchmarks/beside_normflows.py glow/fashion-mnist-full --out runs/normflows

What differs is the model: see `contenders/normflows.py`. The recipe's Adam, warm-up, cosine, clipping and averaged
weights are used here too, by torch's own means. Writes log.csv, metrics.json and samples.png as `flowkit train` does.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from contenders.normflows import glow
from contenders.on_torch import DEVICE
from tqdm import tqdm

from flowkit import data, recipes, training

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
    changes = [recipes.Override(key, value) for key, value in given.items() if value is not None]
    recipe = recipes.load(options.recipe, changes)
    options.out.mkdir(parents=True)
    train, test = (data.load(recipe.data.source, split) for split in ("train", "test"))
    torch.manual_seed(recipe.training.seed)
    model = glow(train.images.shape[1:], **{key: recipe.model[key] for key in ("levels", "steps", "width")})
    started = time.perf_counter()
    averaged = fit(model, train, recipe.training, options.out / "log.csv")
    seconds = time.perf_counter() - started
    bits = evaluate(averaged.module, test)
    metrics = {
        "test_bits_per_dim": float(bits.mean()),
        "test_standard_error": float(bits.std(ddof=1) / math.sqrt(len(bits))),
        "overflowing_samples": overflowing(averaged.module),
        "samples": SAMPLES_FOR_COUNT,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_seconds": seconds,
    }
    print(json.dumps(metrics, indent=1))
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=1))
    pictures = draw(averaged.module, recipe.sampling.count, recipe.sampling.temperature)
    training.save_png(options.out / "samples.png", training.image_grid(pictures))


def continuous(images):
    """As flowkit's `Dequantize`, channels first."""
    x = torch.as_tensor(images, dtype=torch.float32, device=DEVICE).permute(0, 3, 1, 2).contiguous()
    return (x + torch.rand_like(x)) / 256 - 0.5


def bits_per_dim(model, x):
    return 8 - model.log_prob(x, None) / (x[0].numel() * math.log(2))


def fit(model, train, table, log):
    """Train; returns the averaged model. normflows' ActNorm takes its statistics from its first batch."""
    batches = data.batches(train.images, batch_size=table.batch_size, seed=table.seed)
    total = table.epochs * len(batches)
    rate = training.WarmUpCosine(table.learning_rate, warmup_steps=table.warmup_steps, total_steps=total)
    with torch.no_grad():
        model.log_prob(continuous(train.images[: table.adapt_batch]), None)
    optimizer = torch.optim.Adam(model.parameters(), 1.0, eps=1e-7)  # Keras's epsilon
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
def evaluate(model, test):
    parts = np.array_split(test.images, max(1, len(test.images) // 256))
    return np.concatenate([bits_per_dim(model, continuous(part)).cpu().numpy() for part in parts])


@torch.no_grad()
def draw(model, count, temperature):
    """Images as stored. normflows' own temperature is for class-conditional priors: here the deviations are scaled."""
    for base in model.q0:
        base.log_scale.add_(math.log(temperature))
    x, _ = model.sample(count)
    for base in model.q0:
        base.log_scale.sub_(math.log(temperature))
    values = ((torch.nan_to_num(x, nan=0.5) + 0.5) * 256).floor().clamp(0, 255)
    return values.permute(0, 2, 3, 1).byte().cpu().numpy()


@torch.no_grad()
def overflowing(model):
    """How many samples at temperature 1 are not finite."""
    x, _ = model.sample(SAMPLES_FOR_COUNT)
    return int((~torch.isfinite(x).flatten(1).all(1)).sum())


if __name__ == "__main__":
    main()
