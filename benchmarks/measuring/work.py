"""What is computed, and by whom."""


def images(size, levels, steps, width, batch, **more):
    work = {"size": size, "levels": levels, "steps": steps, "width": width, "batch": batch}
    return {"kind": "images", **work, "precision": "default", **more}


def vectors(kind, features, layers, width, batch, **more):
    work = {"features": features, "layers": layers, "width": width, "batch": batch}
    return {"kind": kind, **work, "precision": "default", **more}


PRESETS = {
    "small": images(32, 3, 8, 128, 32, many=1000, many_batch=256),
    "paper": images(32, 3, 32, 512, 8),
    "64": images(64, 4, 8, 128, 8),
    "256": images(256, 6, 32, 512, 1, kind="large images"),
    "vectors": vectors("vectors", 64, 8, 128, 512),
    "splines": vectors("splines", 64, 8, 128, 512, bins=8),
    "maf": vectors("maf", 64, 5, 128, 512),
}

# (name, engine, module of `contenders`, options of its function, which is called as the kind of work is).
CONTENDERS = {
    "images": [
        ("floor", "torch", "floor_torch", {}),
        ("flowkit", "torch", "flowkit", {}),
        ("normflows", "torch", "normflows", {}),
        ("floor", "jax", "floor_jax", {}),
        ("flowkit", "jax", "flowkit", {}),
        ("twin", "jax", "twin_jax", {}),
    ],
    "vectors": [
        ("floor", "torch", "floor_torch", {}),
        ("flowkit", "torch", "flowkit", {}),
        ("nflows", "torch", "nflows", {}),
        ("zuko", "torch", "zuko", {}),
        ("normflows", "torch", "normflows", {}),
        ("floor", "jax", "floor_jax", {}),
        ("flowkit", "jax", "flowkit", {}),
        ("twin", "jax", "twin_jax", {}),
        ("flowjax", "jax", "flowjax", {}),
        ("distrax", "jax", "distrax", {}),
    ],
    "splines": [
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
    "maf": [
        ("floor", "torch", "floor_torch", {}),
        ("flowkit", "torch", "flowkit", {}),
        ("nflows", "torch", "nflows", {}),
        ("zuko", "torch", "zuko", {}),
        ("normflows", "torch", "normflows", {}),
        ("floor", "jax", "floor_jax", {}),
        ("flowkit", "jax", "flowkit", {}),
        ("flowjax", "jax", "flowjax", {}),
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
# What flowkit alone does, beside what others do in its place.
CHECKED = {"sample_checked": "sampling, checked"}
BASE = {"sample_checked": "sample"}
MANY = {"log_prob_many": "evaluation of {many:,}", "sample_many": "sampling of {many:,}"}
FEW = 3  # turns of the many


def tasks_of(work):
    """What is timed, as {method of a contender: in words}; many rows, in batches, if the work says how many."""
    many = {task: name.format(**work) for task, name in MANY.items()} if "many" in work else {}
    return TASKS | CHECKED | many


def turns_of(task, repeats):
    """How often a task is timed: the slow ones, which are many calls in one, less often."""
    return min(repeats, FEW) if task in MANY else repeats


def portions(work):
    """How many rows each batch of the many has: the last one may have fewer."""
    many, batch = work["many"], work["many_batch"]
    return [min(batch, many - start) for start in range(0, many, batch)]


def chosen(work, options):
    """The contenders that the command line asks for; with others goes flowkit, which they are compared with."""
    found, wanted = list(CONTENDERS[work["kind"]]), options.contender
    if options.at_once and not is_images(work):
        several = {"steps_per_execution": options.at_once}
        found.append((f"flowkit {options.at_once} at once", "jax", "flowkit", several))
    if work["kind"] != "large images":
        found[2:2] = [COMPILED] if options.compiled else []
        found += REVERSIBLE if options.reversible and work["kind"] == "images" else []
        wanted = wanted and [*wanted, "flowkit"]
    return [c for c in found if c[1] in options.engine and (not wanted or c[0] in wanted)]


def step_flops(work):
    """Floating-point operations of one training step of Glow: three times the forward pass (None for others).

    Counted are the coupling networks and the 1x1 convolutions, two operations for each product. What `backprop`
    computes a second time does not count, nor do element-wise operations.
    """
    if not is_images(work):
        return None
    width, forward = work["width"], 0
    for height, _, half in network_inputs(work):
        network = 9 * half * width + width**2 + 9 * width * 2 * half
        forward += work["steps"] * 2 * height**2 * (network + (2 * half) ** 2)
    return 3 * work["batch"] * forward


def is_images(work):
    return work["kind"].endswith("images")


def event(work):
    return (work["size"], work["size"], 3) if is_images(work) else (work["features"],)


def network_inputs(work):
    """For each level the shape (height, width, channels) that its coupling networks read."""
    return [
        (work["size"] // 2**level, work["size"] // 2**level, 3 * 2**level)
        for level in range(1, work["levels"] + 1)
    ]


def perceptron(work):
    """How wide what a layer's network reads, its hidden layers and its answer are, for vectors of each kind."""
    features, width = work["features"], work["width"]
    if work["kind"] == "maf":
        return [features, width, width, 2 * features]
    numbers = 3 * work["bins"] - 1 if work["kind"] == "splines" else 2
    return [features // 2, width, width, numbers * (features - features // 2)]


def in_words(work):
    given = [
        f"{key.replace('_', ' ')} {value}" for key, value in work.items() if key not in ("kind", "precision")
    ]
    return f"{work['kind'].replace('large ', '')}, {', '.join(given)}; precision: {work['precision']}"
