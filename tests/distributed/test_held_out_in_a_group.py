"""Two processes go by one validation score, that of one process, and keep the same epoch's weights."""

import json

import numpy as np
import pytest

from flowkit import backends
from flowkit.training import read_log

pytestmark = pytest.mark.skipif(
    backends.name() not in ("torch", "jax"), reason="one process on this engine, which test_group.py asks"
)

SETTINGS = {
    "model.levels": 1,
    "model.steps": 1,
    "model.width": 4,
    "data.limit": 80,
    "data.validation": 16,
    "training.batch_size": 32,
    "training.adapt_batch": 32,
    "training.learning_rate": 1e-50,  # which float32 takes for 0: the first epoch stays the best
    "training.schedule": "constant",
    "training.warmup_steps": 0,
    "training.early_stopping": 2,
    "training.keep_best": "true",
    "training.ema": 0,
    "sampling.count": 0,
}


@pytest.fixture(scope="module")
def runs(launch, tmp_path_factory):
    """The folders of a run by one process and of one by two."""
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = ("-m", "flowkit", "train", "glow/digits", "--out", "run", "--epochs", "8", *settings)
    folders = []
    for count in (1, 2):
        folders.append(tmp_path_factory.mktemp(f"by-{count}"))
        group = launch(folders[-1], *command, count=count, engine=backends.name(), CUDA_VISIBLE_DEVICES="")
        assert group.wait() == [0] * count, "\n".join(group.said(rank)[-3000:] for rank in range(count))
    return [folder / "run" for folder in folders]


def test_the_scores_are_those_of_one_process_and_end_both(runs):
    one, two = ([row["val_bits_per_dim"] for row in read_log(run / "log.csv")] for run in runs)
    assert len(one) == len(two) == 3
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_kept_epoch_is_the_same(runs):
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert one["kept_epoch"] == two["kept_epoch"] == 1
    assert two["validation_bits_per_dim"] == pytest.approx(one["validation_bits_per_dim"], rel=1e-5)
