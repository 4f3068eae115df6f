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

from flowkit import data, zoo
from flowkit.app.experiment import load as load_data
from flowkit.app.recipe import read_recipe

pytestmark = pytest.mark.one_engine

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
    "nsf": ["tables.jsonl"],
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
    others = {"ARCHITECTURES", "VECTORS", "load", "pretrained", "table_front"}
    counted = re.search(r"(\d+) architectures", (ROOT / "README.md").read_text("utf-8"))[1]
    assert int(counted) == len(set(zoo.__all__) - others)


def test_the_tables_of_speed_are_those_of_the_last_release(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    report = importlib.import_module("report").report
    released = json.loads((ROOT / "benchmarks" / "released.json").read_text("utf-8"))
    written = (ROOT / "benchmarks" / "speed.md").read_text("utf-8")
    assert written == report(released), "run python benchmarks/report.py"


def test_the_posteriors_beside_sbi_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("posteriors")
    measured = benchmark.Records(ROOT / "benchmarks" / "posteriors.jsonl", key=benchmark.KEY)
    table = benchmark.as_markdown(measured, SimpleNamespace(simulations=[1000, 10_000], seeds=3))
    assert table.count("\n") > 2
    assert table in (ROOT / "docs" / "posteriors.md").read_text("utf-8"), f"put this table there:\n{table}"


def test_the_likelihoods_beside_sbi_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("posteriors")
    measured = benchmark.Records(ROOT / "benchmarks" / "posteriors.jsonl", key=benchmark.KEY)
    place = {"task": "moons", "engine": "torch", "simulations": 2000, "seed": 0}
    ours, sbi = (measured.find(**place, contender=name) for name in ("nle", "sbi-nle"))
    page = " ".join((ROOT / "docs" / "posteriors.md").read_text("utf-8").split())
    assert f"after 2,000 simulations is {ours['c2st']:.2f}, and {sbi['c2st']:.2f} with" in page
    assert f"after {ours['seconds']:.0f} and {sbi['seconds']:.0f} processor seconds" in page


def test_the_picture_of_posteriors_has_the_numbers_of_its_page():
    images = ROOT / "docs" / "images"
    measured = json.loads((images / "posteriors.json").read_text("utf-8"))
    page = " ".join((ROOT / "docs" / "posteriors.md").read_text("utf-8").split())
    line, ricker = measured["line"], measured["ricker"]
    assert f"on {measured['simulations']:,} simulations in {measured['epochs']} epochs" in page
    assert f"loses {line['lost']:.3f} nats" in page
    assert f"standard error of {line['standard_error']:.3f}" in page
    assert f"it learns {ricker['learned']:.1f} nats" in page
    first, second = (f"{value:.2f}" for value in line["uniformity"])
    r, sigma, phi = (f"{value:.2f}" for value in ricker["uniformity"])
    assert f"are {first} and {second} for the line, {r}, {sigma} and {phi} for Ricker's model" in page


def test_the_findings_in_other_libraries_are_those_of_the_checker(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    found = json.loads((ROOT / "benchmarks" / "peers.json").read_text("utf-8"))
    page = (ROOT / "docs" / "peers.md").read_text("utf-8")
    table = importlib.import_module("check_peers").as_markdown(found)
    assert table in page, f"put this table there:\n{table}"
    numbers = {
        f"{finding[key]:.1e}".replace("e-0", "e-")
        for library in found
        for row in library["bijectors"]
        for finding in row.get("findings", [])
        for key in ("measured", "allowed")
        if finding[key] is not None
    }
    measured = set(re.findall(r"\d\.\d+e-\d+", page))
    assert measured
    assert measured - numbers == set()


def test_the_spline_flows_beside_other_libraries_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("tables")
    about = {"steps": 2000, "layers": 6, "width": 64, "bins": 8}
    measured = benchmark.Records(
        ROOT / "benchmarks" / "tables.jsonl", key=("table", "seed", "contender", *about)
    )
    options = SimpleNamespace(tables=["magic"], contenders=list(benchmark.CONTENDERS), seeds=1)
    table = benchmark.as_markdown(measured, about, options)
    assert table in (ROOT / "zoo" / "nsf" / "README.md").read_text("utf-8"), f"put this table there:\n{table}"
    ours, mixture = (
        measured.find(table="magic", seed=0, contender=name, **about)["test"]
        for name in ("flowkit", "mixture of 20 normals")
    )
    page = " ".join((ROOT / "docs" / "tutorials" / "table.md").read_text("utf-8").split())
    assert f"by {ours - mixture:.1f} nats on the ten columns" in page


def test_the_continuous_flows_beside_others_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.delitem(sys.modules, "continuous", raising=False)  # tests have a module of this name
    table = importlib.import_module("continuous").table()
    assert table.count("\n") > 2
    assert table in (ROOT / "docs" / "continuous.md").read_text("utf-8"), f"put this table there:\n{table}"


def test_the_errors_of_inference_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    table = importlib.import_module("inference").table()
    assert table.count("\n") > 2
    assert table in (ROOT / "docs" / "inference.md").read_text("utf-8"), f"put this table there:\n{table}"


def test_the_mixed_tables_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("mixed_tables")
    measured = benchmark.Records(ROOT / "benchmarks" / "mixed_tables.jsonl", key=benchmark.KEY)
    table = benchmark.as_markdown(measured, benchmark.EPOCHS)
    assert table.count("\n") > 2
    page = (ROOT / "docs" / "tutorials" / "mixed-table.md").read_text("utf-8")
    assert table in page, f"put this table there:\n{table}"


def test_the_steps_of_image_families_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("image_steps")
    table = benchmark.as_markdown(
        benchmark.Records(ROOT / "benchmarks" / "image_steps.jsonl", key=benchmark.KEY)
    )
    assert table in (ROOT / "benchmarks" / "README.md").read_text("utf-8"), f"put this table there:\n{table}"


def test_the_memory_of_gradients_is_that_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("memory")
    page = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    for run in json.loads((ROOT / "benchmarks" / "memory.json").read_text("utf-8")).values():
        table = benchmark.as_markdown(run["rows"])
        assert table in page, f"put this table there:\n{table}"


def test_the_distances_of_samples_are_those_measured():
    measured = json.loads((ROOT / "benchmarks" / "frechet.json").read_text("utf-8"))
    card = (ROOT / "zoo" / "flow_matching" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+) \| (\d+\.\d+) \|$", card, re.MULTILINE)
    written = sorted(float(distance) for _, distance in rows)
    assert written == sorted(
        float(f"{distance:.2g}" if distance < 10 else f"{distance:.1f}")
        for distance in measured["distances"].values()
    )
    assert f"{measured['images']:,} samples" in card


def test_the_image_families_are_those_measured():
    """docs/families.md names two families, and the runs of the shipped flows; the card of MAF its own."""
    measured = json.loads((ROOT / "benchmarks" / "images.json").read_text("utf-8"))
    reached = {row["name"].split("/")[0]: f"{row['test_bits_per_dim']:.2f}" for row in measured["rows"]}
    page = (ROOT / "docs" / "families.md").read_text("utf-8")
    (jet, tarflow) = re.search(r"which reach (\S+) and (\S+)\.", page).groups()
    assert (jet, tarflow) == (reached["jet"], reached["tarflow"])
    assert f"about {measured['seconds']:.0f} seconds of processor time" in page
    card = (ROOT / "zoo" / "maf_images" / "README.md").read_text("utf-8")
    assert f"{reached['maf_images']} after {measured['seconds']:.0f} s" in card


def test_the_trainings_beside_the_image_families_are_those_of_the_shipped_runs():
    page = (ROOT / "docs" / "families.md").read_text("utf-8").replace("\n", " ")
    for name in ("glow/fashion-mnist-full", "maf_images/fashion-mnist-full"):
        run = PRESETS[name]["measured"]
        minutes = rf"{run['test_bits_per_dim']:.3f} (?:bits/dim )?in {run['seconds'] / 60:.0f} minutes"
        assert re.search(rf"`{name}` (?:reaches )?{minutes}", page), (name, minutes)
        assert f"On {run['train_images']:,} images, with {run['validation_images']:,} more" in page


def test_a_recipe_counts_the_images_that_it_trains_on():
    """Its first line, which `flowkit list` prints, where a trained flow has counted them."""
    for name, metadata in PRESETS.items():
        first = (ROOT / "zoo" / f"{name}.toml").read_text("utf-8").splitlines()[0]
        if whole := re.search(r"on (?:all )?([\d,]+) (?:of the [\d,]+ )?images", first):
            assert int(whole[1].replace(",", "")) == metadata["measured"]["train_images"], first


def test_the_permutations_of_glow_are_those_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    measured = json.loads((ROOT / "benchmarks" / "permutations.json").read_text("utf-8"))
    table = importlib.import_module("permutations").as_markdown(measured)
    card = (ROOT / "zoo" / "glow" / "README.md").read_text("utf-8")
    assert f"{measured['steps']} steps" in card
    assert table in card, f"put this table there:\n{table}"


def test_the_page_on_performance_states_no_times_of_its_own():
    """Its chart reads a file; a time in the text would be of another day."""
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert "{bars} benchmarks/released.json train" in page
    assert re.findall(r"\d (?:ms|us|s|GB|MB)\b", page) == []


def test_no_page_claims_a_result_that_its_card_calls_not_measured():
    card = (ROOT / "zoo" / "glow" / "README.md").read_text("utf-8")
    published = re.findall(r"^\|.* \| \d\.\d\d \| (.+?) \|$", card, re.MULTILINE)
    assert published
    if set(published) == {"not measured"}:
        assert [
            page.name for page in PAGES if "reproduces the published model" in page.read_text("utf-8")
        ] == []
