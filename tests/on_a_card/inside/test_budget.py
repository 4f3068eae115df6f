"""What one step of training makes the host and the card wait for, and how much it launches: a budget, with reasons.

An upload or a wait that comes anew fails here with the name of the function that asks for it. Whoever finds a way to
spare one takes it out of the budget.
"""

import collections

import keras
import pretend_card
import pytest

# place -> how many in one step, and why.
UPLOADS = {"failed_step.py:fit": (1, "the batch")}
WAITS = {
    "Keras alone": (3, "the logs of the step, three numbers, in a thread that training does not wait for"),
}
LABELS = {"failed_step.py:fit": (1, "the labels")}
CLASSIFIER_LOGS = {"Keras alone": (2, "the classifier's two numbers in the logs")}
DRIFT = {
    "backprop.py:_look": (
        2,
        "for each level whether its input came back: a warning has to be able to fire",
    )
}

# options -> what comes on top.
CASES = {
    "stored": ({}, {}, {}),
    "deeper": ({"steps": 4}, {}, {}),
    "recompute": ({"backprop": "recompute"}, {}, {}),
    "reversible": ({"backprop": "reversible"}, {}, DRIFT),
    "classes": ({"num_classes": 4}, LABELS, {}),
    "classifier": ({"num_classes": 4, "classifier_weight": 0.01}, LABELS, CLASSIFIER_LOGS),
}

# Kernels that one step of Glow launches, in both passes. What it derives from its weights is derived with those of the
# other steps of its level, and so are clipping, guard, optimizer and averages those of all weights.
EACH_GLOW_STEP = {
    "3 convolutions": 3 * 2,
    "their edge maps, added twice; the gradients of these are sums": 2 * 2,
    "2 rectifiers": 2 * 2,
    "the shift of the actnorm, and its gradient": 2,
    "the matrix, which is the scale of the actnorm too": 3,
    "the affine move: (x + shift) sigmoid(s + 2), its logarithm and sum": 7,
    "its gradients, which are dealt out as the network answers": 7,
    "halves put side by side": 2,
    "the gradient of the half that is kept, from two sides": 1,
}


def of_one_step(flow, images, context=None):
    """(uploads, waits, kernels) of a second step: what two steps ask for, less what one does."""
    found = []
    for steps in (1, 1, 2):  # the first one makes what is kept
        rows = slice(16 * steps)
        with pretend_card.counting() as counts:
            flow.fit(
                images[rows], context=None if context is None else context[rows], batch_size=16, verbose=0
            )
        found.append(counts)
    return tuple(
        getattr(found[2], what) - getattr(found[1], what) for what in ("uploads", "waits", "kernels")
    )


def total(*budgets):
    return sum(
        (collections.Counter({place: n for place, (n, _) in b.items()}) for b in budgets),
        collections.Counter(),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_step_keeps_to_its_budget(glow, images, labels, case):
    options, more_uploads, more_waits = CASES[case]
    flow = glow(**options)
    uploads, waits, _ = of_one_step(flow, images, labels if "num_classes" in options else None)
    assert uploads == total(UPLOADS, more_uploads)
    assert waits == total(WAITS, more_waits)


def test_a_step_of_glow_launches_no_more_than_it_has_to(glow, images):
    shallow, deep = (of_one_step(glow(steps=steps), images)[2] for steps in (2, 4))
    # 2 levels, 2 steps more.
    assert (deep - shallow).total() <= 2 * 2 * sum(EACH_GLOW_STEP.values()), deep - shallow


def test_the_count_sees_what_goes_over():
    x = keras.ops.ones((2, 2))
    with pretend_card.counting() as counts:
        keras.ops.convert_to_tensor([1.0, 2.0])
        keras.ops.convert_to_numpy(x)
        bool(x[0, 0] > 0)
        x[x > 0]
        x.t()[1:] + 1
    assert (counts.uploads.total(), counts.waits.total()) == (1, 3)
    assert counts.kernels["add"] == 1
    assert not {"t", "slice"} & counts.kernels.keys()


def test_the_card_refuses_tensors_of_the_cpu():
    import torch

    x = keras.ops.ones((2, 2))
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(2, 2)
    with pytest.raises((RuntimeError, TypeError)):
        x.numpy()
