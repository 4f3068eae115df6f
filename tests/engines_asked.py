"""Which engines `make test` asks a test."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

# How many engines `make test` asks, by the mark that is nearest to a test: its own, its class's, its module's. PyTorch
# is asked all. Where there is no mark JAX and TensorFlow are too, but for rooms that say nothing new on a third engine.
ASKED = {"one_engine": 1, "two_engines": 2, "every_engine": 3}
ROOMS_OF_TWO = {
    *("app", "convert", "data", "distributed", "objectives", "on_a_card", "play", "presets", "testing"),
}


def mark_engines(items):
    """Mark a test `jax` and `tensorflow` if `make test` asks it there."""
    seen = set()
    for item in items:
        room = item.path.relative_to(ROOT).parts[1]
        near = [mark.name for mark in item.iter_markers() if mark.name in ASKED]
        engines = ASKED[near[0]] if near else 2 if room in ROOMS_OF_TWO else 3
        if wide := item.get_closest_marker("wide"):
            if (kind := _kind(item, wide.args)) in seen:
                engines = 1
            seen.add(kind)
        for engine in ("jax", "tensorflow")[: engines - 1]:
            item.add_marker(engine)


def _kind(item, of):
    """What the cases of a `wide` test differ in: `of` are names of parameters, or functions of them all."""
    params = item.callspec.params
    values = [one(params) if callable(one) else params[one] for one in of]
    return item.nodeid.partition("[")[0], *(
        v if isinstance(v, str | int | float) else type(v) for v in values
    )
