"""What recorded steps cost, what they report, and what they refuse."""

import re
import warnings

import keras
import pretend_card
import pytest
import torch
from keras import ops
from pretend_graph import PretendGraph
from recording import BATCH, EPOCHS, OPTIMIZERS, REPLAYS, adam, assert_same, guarded, of_vectors, trained

from flowkit import objectives
from flowkit.backends.torch import captured, graphs

pytestmark = pytest.mark.usefixtures("graph")
HERE = re.escape(__file__)


def test_a_replay_uploads_the_batch_and_waits_for_logs_alone(glow, images, labels):
    flow = glow(num_classes=4)
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    flow.fit(images, context=labels, batch_size=4, verbose=0)
    found = []
    for steps in (1, 2):
        with pretend_card.counting() as counts:
            flow.fit(images[: 4 * steps], context=labels[: 4 * steps], batch_size=4, verbose=0)
        found.append(counts)
    uploads, waits = found[1].uploads - found[0].uploads, found[1].waits - found[0].waits
    assert uploads == {"failed_step.py:fit": 2}  # the batch and the labels, by Keras
    assert waits == {"Keras alone": 3}  # its logs
    launched = found[1].kernels - found[0].kernels
    # One draw and its next seed, copied to its place; three logs; the labels' place
    assert launched.total() <= 20, launched


def drifting(glow):
    """(a flow whose reversible chains tell of any drift at all, these chains)."""
    flow = glow(backprop="reversible")
    chains = [layer for layer in flow._flatten_layers() if getattr(layer, "backprop", None) == "reversible"]
    for chain in chains:
        chain._drift_tolerance = 0.0
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    return flow, chains


def test_drift_is_reported_at_the_end_of_an_epoch(glow, images):
    flow, chains = drifting(glow)
    with pytest.warns(UserWarning, match="was rebuilt with a relative error"):
        flow.fit(images, batch_size=8, verbose=0)  # three steps that look, and one that keeps
    for chain in chains:
        chain._worst_drift = 0.0
    with pytest.warns(UserWarning, match="was rebuilt with a relative error"):
        flow.fit(images[:8], batch_size=8, verbose=0)  # one replay
    assert chains
    assert all(chain._worst_drift > 0 for chain in chains)


def test_drift_is_reported_before_another_kind_of_batches_is_recorded(glow, images):
    flow, chains = drifting(glow)
    told = []  # after each step: whether any chain has told

    class Told(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            told.append(any(chain._worst_drift for chain in chains))
            for chain in chains:
                chain._worst_drift = 0.0

    flow.adapt(images)
    batches = [(images[:8],)] * 5 + [(images[:4],)] * 5
    with pytest.warns(UserWarning, match="was rebuilt with a relative error"):
        flow.fit(iter(batches), steps_per_epoch=10, shuffle=False, verbose=0, callbacks=[Told()])
    assert PretendGraph.made == 2
    # Three that look, two replays, three that look; then what the replays have kept, and a replay
    assert told == [True] * 3 + [False] * 2 + [True] * 3 + [True, False]


def test_no_drift_is_not_reported(glow, images):
    flow = glow(backprop="reversible")
    flow.compile(OPTIMIZERS["guarded"](), cuda_graph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        flow.fit(images, batch_size=4, verbose=0)


class Asking(objectives.Objective):
    """Likelihood, by way of a number."""

    def __call__(self, flow, x, context):
        losses = objectives.MaximumLikelihood()(flow, x, context)
        return losses if float(ops.sum(ops.stop_gradient(losses))) < 1e9 else 0 * losses


def test_a_step_that_waits_is_refused_and_changes_nothing(points, monkeypatch):
    monkeypatch.setattr(captured, "_ENGINE", (*captured._ENGINE, pretend_card.__file__))
    keras.utils.set_random_seed(3)
    flow = of_vectors()
    flow.compile(OPTIMIZERS["guarded"](), Asking(), cuda_graph=True)
    with pytest.raises(
        RuntimeError, match=rf"host neither waits .* cannot be recorded: .*waits in.* {HERE}:\d+"
    ):
        flow.fit(points, batch_size=BATCH, shuffle=False, verbose=0)
    same, _ = trained(of_vectors, OPTIMIZERS["guarded"], False, points[: 3 * BATCH], loss=Asking(), epochs=1)
    flow.optimizer.finalize_variable_values(flow.trainable_variables)
    assert_same(same, flow)
    flow.compile(flow.optimizer)
    flow.fit(points, batch_size=BATCH, verbose=0)
    assert int(flow.optimizer.iterations) == 3 + 8


def test_a_device_without_room_for_it_is_told_so(points):
    class Full(objectives.Objective):
        steps = 0

        def __call__(self, flow, x, context):
            self.steps += 1
            if self.steps > 3:
                raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
            return objectives.MaximumLikelihood()(flow, x, context)

    with pytest.raises(RuntimeError, match="expects room for a second training step"):
        trained(of_vectors, OPTIMIZERS["guarded"], True, points, loss=Full())


REFUSED = {
    "SGD": (lambda: keras.optimizers.SGD(0.1), "received SGD"),
    "guarded SGD": (lambda: guarded(keras.optimizers.SGD(0.1)), "received SGD"),
    "scaled": (lambda: keras.optimizers.LossScaleOptimizer(adam()), "received LossScaleOptimizer"),
    "accumulation": (lambda: adam(gradient_accumulation_steps=2), "gradient_accumulation_steps=2"),
    "amsgrad": (lambda: adam(amsgrad=True), "amsgrad=True"),
    "overwriting": (lambda: adam(ema_overwrite_frequency=3), "ema_overwrite_frequency=3"),
}


@pytest.mark.parametrize(("optimizer", "words"), REFUSED.values(), ids=REFUSED)
def test_optimizers_that_the_host_waits_for_are_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        of_vectors().compile(optimizer(), cuda_graph=True)


def test_it_does_not_go_with_a_compiler():
    with pytest.raises(ValueError, match="jit_compile=True"):
        of_vectors().compile("adam", cuda_graph=True, jit_compile=True)


def test_another_device_is_refused(monkeypatch):
    monkeypatch.delitem(graphs._GRAPHS, pretend_card.NAME)
    with pytest.raises(NotImplementedError, match="received a flow on card:0"):
        of_vectors().compile("adam", cuda_graph=True)


def test_a_file_does_not_keep_it(tmp_path, points):
    flow, _ = trained(of_vectors, OPTIMIZERS["guarded"], True, points)
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    assert not again.cuda_graph
    again.compile(again.optimizer, cuda_graph=True)
    again.fit(points, batch_size=BATCH, verbose=0)
    assert int(again.optimizer.iterations) == 8 * (EPOCHS + 1)


def test_logs_that_are_read_late_are_those_of_their_step(points):
    flow, _ = trained(of_vectors, OPTIMIZERS["guarded"], True, points)
    one, other = points[:BATCH], points[BATCH : 2 * BATCH]
    logs = flow.train_function([one])["loss"]
    at_once = float(logs)
    assert float(flow.train_function([other])["loss"]) != at_once
    assert float(logs) == at_once
    assert PretendGraph.replays == REPLAYS + 2
