"""What is computed, and by whom."""


def images(size, levels, steps, width, batch, **more):
    work = {"size": size, "levels": levels, "steps": steps, "width": width, "batch": batch}
    return {"kind": "images", **work, "precision": "default", **more}


PRESETS = {
    "small": images(32, 3, 8, 128, 32),
    "paper": images(32, 3, 32, 512, 8),
    "64": images(64, 4, 8, 128, 8),
    "256": images(256, 6, 32, 512, 1, kind="large images"),
    "vectors": {
        "kind": "vectors",
        "features": 64,
        "layers": 8,
        "width": 128,
        "batch": 512,
        "precision": "default",
    },
}

# (name, engine, module of `contenders`, options of its function).
CONTENDERS = {
    "images": [
        ("floor", "torch", "floor_torch", {}),
        ("flowkit", "torch", "flowkit", {}),
        ("normflows", "torch", "normflows", {}),
        ("floor", "jax", "floor_jax", {}),
        ("flowkit", "jax", "flowkit", {}),
    ],
    "vectors": [
        ("floor", "torch", "floor_torch", {}),
        ("flowkit", "torch", "flowkit", {}),
        ("nflows", "torch", "nflows", {}),
        ("zuko", "torch", "zuko", {}),
        ("normflows", "torch", "normflows", {}),
        ("floor", "jax", "floor_jax", {}),
        ("flowkit", "jax", "flowkit", {}),
        ("flowjax", "jax", "flowjax", {}),
        ("distrax", "jax", "distrax", {}),
    ],
    # One at a time, and the one that may not fit into memory last.
    "large images": [
        ("flowkit reversible", "torch", "flowkit", {"backprop": "reversible"}),
        ("flowkit reversible", "jax", "flowkit", {"backprop": "reversible"}),
        ("flowkit", "torch", "flowkit", {}),
        ("flowkit", "jax", "flowkit", {}),
    ],
}
# What is compared beside flowkit as it comes, if it is asked for.
REVERSIBLE = [
    ("flowkit reversible", "torch", "flowkit", {"backprop": "reversible"}),
    ("flowkit reversible", "jax", "flowkit", {"backprop": "reversible"}),
]
COMPILED = ("flowkit jit_compile", "torch", "flowkit", {"jit_compile": True})

TASKS = {"train": "training step", "log_prob": "evaluation", "sample": "sampling"}


def chosen(work, options):
    """The contenders that the command line asks for; with others goes flowkit, which they are compared with."""
    found, wanted = list(CONTENDERS[work["kind"]]), options.contender
    if work["kind"] != "large images":
        found[2:2] = [COMPILED] if options.compiled else []
        found += REVERSIBLE if options.reversible and work["kind"] == "images" else []
        wanted = wanted and [*wanted, "flowkit"]
    return [c for c in found if c[1] in options.engine and (not wanted or c[0] in wanted)]


def step_flops(work):
    """Floating-point operations of one training step of Glow: three times the forward pass (None for vectors).

    Counted are the coupling networks and the 1x1 convolutions, two operations for each product. What `backprop`
    computes a second time does not count, nor do element-wise operations.
    """
    if work["kind"] == "vectors":
        return None
    width, forward = work["width"], 0
    for height, _, half in network_inputs(work):
        network = 9 * half * width + width**2 + 9 * width * 2 * half
        forward += work["steps"] * 2 * height**2 * (network + (2 * half) ** 2)
    return 3 * work["batch"] * forward


def event(work):
    return (work["features"],) if work["kind"] == "vectors" else (work["size"], work["size"], 3)


def network_inputs(work):
    """For each level the shape (height, width, channels) that its coupling networks read."""
    return [
        (work["size"] // 2**level, work["size"] // 2**level, 3 * 2**level)
        for level in range(1, work["levels"] + 1)
    ]


def in_words(work):
    given = [f"{key} {value}" for key, value in work.items() if key not in ("kind", "precision")]
    return f"{work['kind'].replace('large ', '')}, {', '.join(given)}; precision: {work['precision']}"
