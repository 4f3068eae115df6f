"""docs/inference.md runs as it stands, and what it says of its flows holds."""

import re
import sys
import types
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from flowkit.engines import engine

pytestmark = [pytest.mark.two_engines, pytest.mark.long]

PAGE = Path(__file__).parents[1] / "docs" / "inference.md"


@pytest.fixture(scope="module")
def names():
    """What the page's blocks leave behind, by name; those of blackjax run on JAX alone."""
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    module = sys.modules["inference_page"] = types.ModuleType("inference_page")
    for block in blocks:
        if engine.name == "jax" or "blackjax" not in block:
            exec(compile(block, str(PAGE), "exec"), vars(module))
    yield vars(module)
    del sys.modules["inference_page"]
    plt.close("all")
    matplotlib.use(before)


def test_the_funnel_is_learned(names):
    report = names["report"]
    assert report.effective_sample_size > 9000  # 9,705 on PyTorch, 9,866 on JAX
    assert not report.trusted  # k-hat 1.3 and 1.15, from the wide end
    assert abs(report.log_normaliser) < 4 * report.standard_error + 0.02
    assert abs(names["weighted"] - 1) < 0.2


def test_annealing_finds_all_modes(names):
    def shares(flow):
        """Return the share of draws that is nearest to each mode."""
        distances = np.square(flow.sample(3000, seed=0)[:, None] - names["means"]).sum(axis=-1)
        return np.bincount(distances.argmin(axis=1), minlength=3) / 3000

    plain, annealed = names["found"]["plain"], names["found"]["annealed"]
    assert shares(plain).min() < 0.05  # as the page says: almost no draws in one or two
    assert shares(annealed).min() > 0.1  # 0.18 on JAX
    report = names["flowkit"].inference_report(annealed, names["three_modes"])
    assert abs(report.log_normaliser) < 4 * report.standard_error


def test_the_chain_of_metropolis_has_the_moments(names):
    assert names["accepted"] > 0.5
    assert abs(np.mean(names["chain"][:, 0] ** 2) - 1) < 0.25


@pytest.mark.skipif(engine.name != "jax", reason="blackjax runs on JAX")
def test_nuts_mixes_better_in_the_latents(names):
    size = names["blackjax"].ess
    plain, mapped = (float(size(names[name][None, :, 0])) for name in ("plain", "mapped"))
    assert mapped > plain
    assert abs(np.mean(names["mapped"][:, 0] ** 2) - 1) < 0.25
