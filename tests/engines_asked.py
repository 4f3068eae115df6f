"""Which backends a test runs on."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

# On how many backends a test runs, by the nearest mark: its own, its class's, its module's. PyTorch runs all. Without a
# mark the room counts: the mathematics runs on all backends, training on PyTorch and JAX, and what calls a flow by its
# public methods on PyTorch. Of a test with many cases JAX and TensorFlow run the first, or the first of each kind
# (`wide`), or all if the test has a mark of its own. `make test` leaves out what is marked `long`.
ASKED = {"one_engine": 1, "two_engines": 2, "every_engine": 3}
ROOMS = {
    **dict.fromkeys(("bijectors", "conditioners", "contract", "engines", "transforms"), 3),
    **dict.fromkeys(("flows", "training"), 2),
}


def count(room, marks):
    """Return on how many backends a test runs, given its room and the names of its marks, the nearest first."""
    return next((ASKED[name] for name in marks if name in ASKED), ROOMS.get(room, 1))


def mark_engines(items):
    """Mark a test `jax` and `tensorflow` if it runs there."""
    seen = set()
    for item in items:
        room = item.path.relative_to(ROOT).parts[1]
        engines = count(room, [mark.name for mark in item.iter_markers()])
        wide = item.get_closest_marker("wide")
        if hasattr(item, "callspec") and (wide or not any(mark.name in ASKED for mark in item.own_markers)):
            if (kind := _kind(item, wide.args if wide else ())) in seen:
                engines = 1
            seen.add(kind)
        for engine in ("jax", "tensorflow")[: engines - 1]:
            item.add_marker(engine)


def _kind(item, of):
    """Return what tells the kinds of cases of a test apart: parameters by name, or functions of all of them."""
    params = item.callspec.params
    values = [one(params) if callable(one) else params[one] for one in of]
    return item.nodeid.partition("[")[0], *(
        v if isinstance(v, str | int | float) else type(v) for v in values
    )
