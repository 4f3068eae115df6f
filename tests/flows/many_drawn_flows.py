"""The property of test_drawn_flows.py for many flows, others at each run: `make check-flows`. Prints its seeds."""

import multiprocessing
import secrets
from concurrent.futures import ProcessPoolExecutor

import hypothesis
import keras
import pytest

from flowkit.testing import check_flow, strategies
from flowkit.testing.flows import CHECKS
from tests.flows.test_drawn_flows import ON_TORCH, SETTINGS

TURNS = 20
EXAMPLES = 2000 if ON_TORCH else 300
CHECKED = list(CHECKS)[:-1] if ON_TORCH else list(CHECKS)  # torch.compile takes half a minute for each flow


@pytest.mark.timeout(5400)  # a busy machine takes half an hour for a hundred flows
@pytest.mark.parametrize("turn", range(TURNS))
def test_drawn_flows_keep_their_promises(turn):
    """In a process of its own: TensorFlow keeps what it traced for a model, some 50 MB, until its process ends."""
    seed = secrets.randbits(64)
    print(f"@hypothesis.seed({seed}) on {keras.backend.backend()}")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        processes.submit(draw_and_check, seed).result()


def draw_and_check(seed):
    @hypothesis.seed(seed)
    @hypothesis.settings(SETTINGS, max_examples=EXAMPLES // TURNS, print_blob=True)
    @hypothesis.given(strategies.flows())
    def keeps_its_promises(drawn):
        check_flow(drawn, CHECKED)

    keeps_its_promises()
