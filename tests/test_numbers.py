"""Numbers on pages come from files that runs and benchmarks wrote."""

import importlib
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from flowkit import data, presets, zoo
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe
from flowkit.presets.folder import read_preset

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[!_a]*/*.md")])
PRESETS = {
    path.parent.relative_to(ROOT / "zoo").as_posix(): json.loads(path.read_text("utf-8"))
    for path in (ROOT / "zoo").glob("*/*/metadata.json")
}
CARDS = sorted((ROOT / "zoo").glob("*/README.md"))
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
VERSION = re.compile(
    r"\b(?:PyTorch|JAX|Keras|flowkit|normflows|nflows|zuko|FlowJAX|scikit-learn) \d+(?:\.\d+)*"
)
DECIMAL = re.compile(r"(?<![\w.,/-])-?\d+\.\d+(?:e-?\d+)?(?![\w.]*\w)")
DURATION = re.compile(r"(?<![\w.,])(\d[\d,]*) (s|seconds|min|minutes|hours)\b")
BENCHMARKS = {  # of a card, beside the runs of its shipped flows
    "flow_matching": ["frechet.json"],
    "flow_pp": ["images.json"],
    "glow": ["permutations.json"],
    "jet": ["images.json", "image_steps.jsonl"],
    "maf_images": ["images.json", "../zoo/glow/fashion-mnist-full/metadata.json"],
    "nsf": ["tables.jsonl", "defaults.jsonl"],
    "realnvp_images": ["images.json"],
    "tarflow": ["images.json", "image_steps.jsonl"],
}
LITERAL = re.compile(r"(?<![\w.])-?\d[\d.,]*\d(?:e-?\d+)?|(?<![\w.])\d(?![\w.])")
COMPUTED = {"glow": {"4.63", "2.39"}}  # by tests below
SCORE = re.compile(r"(-?\d+\.\d+) \+- (\d+\.\d+)")


def scores():
    """(score, standard error) of each split of each run, as pages write them."""
    for metadata in PRESETS.values():
        measured = metadata["measured"]
        for key, value in measured.items():
            split, _, kind = key.partition("_")
            if kind in ("bits_per_dim", "log_prob") and f"{split}_standard_error" in measured:
                error = measured[f"{split}_standard_error"]
                yield from ((f"{value:.{digits}f}", f"{error:.{digits}f}") for digits in (2, 3))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_scores_are_those_of_the_shipped_runs(page):
    assert set(SCORE.findall(page.read_text("utf-8"))) - set(scores()) == set()


def stored(path, family):
    """Return (key, number) of each number in a file; of rows of families, those of this one."""
    text = (ROOT / "benchmarks" / path).read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if path.endswith("l") else json.loads(text)
    found = []

    def collect(key, value):
        if isinstance(value, dict):
            name = str(value.get("name", value.get("family", family)))
            if name.split("/")[0] == family or path.endswith("metadata.json"):
                for inner, entry in value.items():
                    collect(inner, entry)
        elif isinstance(value, list):
            for entry in value:
                collect(key, entry)
        elif isinstance(value, int | float):
            found.append((key, value))

    collect("", rows)
    return found


def known_numbers(family):
    """Return (numbers of the files of a card, seconds among them, numbers as its recipes and files write them)."""
    files = [f"../zoo/{name}/metadata.json" for name in PRESETS if name.split("/")[0] == family]
    files += BENCHMARKS[family]
    found = [pair for path in files for pair in stored(path, family)]
    texts = [path.read_text("utf-8") for path in (ROOT / "zoo" / family).glob("*.toml")]
    texts += [(ROOT / "benchmarks" / path).read_text("utf-8") for path in files]
    seconds = [value for key, value in found if "seconds" in key or key == "curve"]
    return [value for _, value in found], seconds, set(LITERAL.findall(" ".join(texts)))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_the_numbers_of_a_card_are_those_of_its_recipes_runs_and_benchmarks(card):
    """Decimals and times: counts of parameters are compared in tests/zoo."""
    family = card.parent.name
    numbers, seconds, literal = known_numbers(family)
    page = VERSION.sub("", CODE.sub("", card.read_text("utf-8")))
    unknown = []
    for written in DECIMAL.findall(page):
        digits = len(written.partition(".")[2])
        rounded = any(f"{number:.{digits}f}" == written for number in numbers)
        rounded = rounded or any(f"{number:.2g}" == written.removesuffix(".0") for number in numbers)
        if not rounded and written not in literal and written not in COMPUTED.get(family, ()):
            unknown.append(written)
    for written, unit in DURATION.findall(page):
        size = {"s": 1, "m": 60, "h": 3600}[unit[0]]
        count = int(written.replace(",", ""))
        if not any(round(number / size) == count for number in seconds) and written not in literal:
            unknown.append(f"{written} {unit}")
    assert unknown == [], "store these in a file of benchmarks/, or leave them out"


def test_webp_needs_as_many_bits_as_the_card_of_glow_says():
    images = data.load("fashion-mnist", "test").images
    size = 0
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "webp", lossless=True)
        size += file.tell()
    assert f"WebP takes {8 * size / images.size:.2f} bits" in (ROOT / "zoo/glow/README.md").read_text("utf-8")


def test_a_histogram_of_each_pixel_needs_as_many_bits_as_the_card_of_glow_says():
    recipe = read_recipe("glow/digits")
    train, test = (load_data(recipe, split).images.reshape(-1, 64) for split in ("train", "test"))
    counts = 1 + (train[..., None] == np.arange(17)).sum(axis=0)  # Laplace's rule
    share = counts / counts.sum(axis=1, keepdims=True)
    bits = -np.log2(share[np.arange(64), test]).mean()
    assert f"each pixel reaches {bits:.2f})" in (ROOT / "zoo/glow/README.md").read_text("utf-8")


@pytest.mark.parametrize("name", PRESETS)
def test_a_description_counts_the_images_that_a_run_trained_on(name):
    metadata = PRESETS[name]
    counts = re.findall(r"Glow on ([\d,]+) ", metadata["description"])
    assert [int(count.replace(",", "")) for count in counts] in (
        [],
        [metadata["measured"].get("train_images")],
    )


def test_readme_counts_the_architectures():
    others = {"ARCHITECTURES", "VECTORS", "load", "pretrained", "table_front", "LabelledFlow"}
    counted = re.search(r"(\d+) architectures", (ROOT / "README.md").read_text("utf-8"))[1]
    assert int(counted) == len(set(zoo.__all__) - others)


def bench(name):
    sys.modules.pop(name, None)  # tests have modules of these names
    return importlib.import_module(name)


def read(path):
    return json.loads((ROOT / path).read_text("utf-8"))


def records(module, file):
    return module.Records(ROOT / "benchmarks" / file, key=module.KEY)


SPLINES = {"steps": 2000, "layers": 6, "width": 64, "bins": 8}


def splines():
    """Return the module and the records of spline flows beside those of other libraries."""
    module = bench("tables")
    return module, module.Records(
        ROOT / "benchmarks" / "tables.jsonl", key=("table", "seed", "contender", *SPLINES)
    )


def of_splines():
    module, measured = splines()
    return module.as_markdown(
        measured, SPLINES, SimpleNamespace(tables=["magic"], contenders=list(module.CONTENDERS), seeds=1)
    )


def of_presets():
    rows = []
    for name in zoo.pretrained():
        preset = read_preset(presets.find_preset(name))
        measured, unit = preset.measured, "bits/dim"
        number = measured.get("test_bits_per_dim")
        if number is None:
            number, unit = measured["test_log_prob"], "nats"
        said = preset.metadata["description"].split(". ")[0].split(", trained")[0].rstrip(".")
        rows.append(f"| `{name}` | {said} | {number:.3f} +- {measured['test_standard_error']:.3f} {unit} |")
    return "\n".join(rows)


def of_posteriors():
    module = bench("posteriors")
    return module.as_markdown(records(module, "posteriors.jsonl"))


def of_mixed_tables():
    module = bench("mixed_tables")
    return module.as_markdown(records(module, "mixed_tables.jsonl"), module.EPOCHS)


def of_small_tables():
    module = bench("small_data")
    return module.as_markdown(records(module, "small_data.jsonl"))


def of_forests():
    module = bench("small_data")
    return module.beside_forest(records(module, "small_data.jsonl"))


def of_defaults():
    module = bench("defaults")
    return module.as_markdown(records(module, "defaults.jsonl"))


def of_rows():
    module = bench("learning_curve")
    return module.as_markdown(records(module, "learning_curve.jsonl"))


def of_alarms():
    module = bench("alarms")
    return module.as_markdown(records(module, "alarms.jsonl"))


def of_image_steps():
    module = bench("image_steps")
    return module.as_markdown(records(module, "image_steps.jsonl"))


def of_memory():
    return [bench("memory").as_markdown(run["rows"]) for run in read("benchmarks/memory.json").values()]


# (page, the tables that must stand there)
TABLES = [
    ("benchmarks/speed.md", lambda: bench("report").report(read("benchmarks/released.json"))),
    ("docs/posteriors.md", of_posteriors),
    ("docs/peers.md", lambda: bench("check_peers").as_markdown(read("benchmarks/peers.json"))),
    ("zoo/nsf/README.md", of_splines),
    ("zoo/nsf/README.md", of_defaults),
    ("docs/continuous.md", lambda: bench("continuous").table()),
    ("docs/inference.md", lambda: bench("inference").table()),
    ("docs/tutorials/mixed-table.md", of_mixed_tables),
    ("docs/own-tables.md", of_small_tables),
    ("docs/own-tables.md", of_forests),
    ("docs/own-tables.md", of_alarms),
    ("docs/right-for-my-table.md", of_rows),
    ("benchmarks/README.md", of_image_steps),
    ("benchmarks/README.md", of_memory),
    ("zoo/glow/README.md", lambda: bench("permutations").as_markdown(read("benchmarks/permutations.json"))),
    ("docs/scaling.md", lambda: [bench("step_cost").forecast(), bench("step_cost").ends()]),
    ("docs/presets.md", of_presets),
]


@pytest.mark.parametrize(("page", "make"), TABLES)
def test_a_table_is_what_was_measured(monkeypatch, page, make):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables, written = make(), (ROOT / page).read_text("utf-8")
    for table in [tables] if isinstance(tables, str) else tables:
        assert table.count("\n") > 1
        assert table in written, f"put this table there:\n{table}"


def beside_sbi():
    module = bench("posteriors")
    place = {"task": "moons", "engine": "torch", "simulations": 2000, "seed": 0}
    measured = records(module, "posteriors.jsonl")
    ours, sbi = (measured.find(**place, contender=name) for name in ("nle", "sbi-nle"))
    yield f"after 2,000 simulations is {ours['c2st']:.2f}, and {sbi['c2st']:.2f} with"
    yield f"after {ours['seconds']:.0f} and {sbi['seconds']:.0f} processor seconds"


def pictured_posteriors():
    measured = read("docs/images/posteriors.json")
    line, ricker = measured["line"], measured["ricker"]
    yield f"on {measured['simulations']:,} simulations in {measured['epochs']} epochs"
    yield f"loses {line['lost']:.3f} nats"
    yield f"standard error of {line['standard_error']:.3f}"
    yield f"it learns {ricker['learned']:.1f} nats"
    first, second = (f"{value:.2f}" for value in line["uniformity"])
    r, sigma, phi = (f"{value:.2f}" for value in ricker["uniformity"])
    yield f"are {first} and {second} for the line, {r}, {sigma} and {phi} for Ricker's model"


def beside_a_mixture():
    _, measured = splines()
    ours, mixture = (
        measured.find(table="magic", seed=0, contender=name, **SPLINES)["test"]
        for name in ("flowkit", "mixture of 20 normals")
    )
    yield f"by {ours - mixture:.1f} nats on the ten columns"


def image_families():
    measured = read("benchmarks/images.json")
    reached = {row["name"].split("/")[0]: f"{row['test_bits_per_dim']:.2f}" for row in measured["rows"]}
    yield f"which reach {reached['jet']} and {reached['tarflow']}."
    yield f"about {measured['seconds']:.0f} seconds of processor time"
    for name in ("glow/fashion-mnist-full", "maf_images/fashion-mnist-full"):
        run = PRESETS[name]["measured"]
        yield f"{run['test_bits_per_dim']:.3f} in {run['seconds'] / 60:.0f} minutes"
    yield f"On {run['train_images']:,} images, with {run['validation_images']:,} more"


def maf_of_images():
    measured = read("benchmarks/images.json")
    (row,) = [row for row in measured["rows"] if row["name"].startswith("maf_images")]
    yield f"{row['test_bits_per_dim']:.2f} after {measured['seconds']:.0f} s"


def distances():
    measured = read("benchmarks/frechet.json")
    yield f"{measured['images']:,} samples"
    for distance in measured["distances"].values():
        yield f"| {distance:.2g} |" if distance < 10 else f"| {distance:.1f} |"


SENTENCES = [
    ("docs/posteriors.md", beside_sbi),
    ("docs/posteriors.md", pictured_posteriors),
    ("docs/tutorials/table.md", beside_a_mixture),
    ("docs/families.md", image_families),
    ("zoo/maf_images/README.md", maf_of_images),
    ("zoo/flow_matching/README.md", distances),
    ("zoo/glow/README.md", lambda: [f"{read('benchmarks/permutations.json')['steps']} steps"]),
]


@pytest.mark.parametrize(("page", "make"), SENTENCES)
def test_a_sentence_says_what_was_measured(monkeypatch, page, make):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    written = " ".join((ROOT / page).read_text("utf-8").replace(" bits/dim in ", " in ").split())
    assert [sentence for sentence in make() if sentence not in written] == []


def test_the_findings_in_other_libraries_are_those_of_the_checker():
    numbers = {
        f"{finding[key]:.1e}".replace("e-0", "e-")
        for library in read("benchmarks/peers.json")
        for row in library["bijectors"]
        for finding in row.get("findings", [])
        for key in ("measured", "allowed")
        if finding[key] is not None
    }
    written = set(re.findall(r"\d\.\d+e-\d+", (ROOT / "docs/peers.md").read_text("utf-8")))
    assert written
    assert written - numbers == set()


def test_a_recipe_counts_the_images_that_it_trains_on():
    """Its first line, which `flowkit list` prints, where a trained flow has counted them."""
    for name, metadata in PRESETS.items():
        first = (ROOT / "zoo" / f"{name}.toml").read_text("utf-8").splitlines()[0]
        if whole := re.search(r"on (?:all )?([\d,]+) (?:of the [\d,]+ )?images", first):
            assert int(whole[1].replace(",", "")) == metadata["measured"]["train_images"], first
