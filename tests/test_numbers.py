"""Numbers on pages come from files that runs and benchmarks wrote."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowkit import zoo

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[!_a]*/*.md")])
PRESETS = {
    path.parent.relative_to(ROOT / "zoo").as_posix(): json.loads(path.read_text("utf-8"))
    for path in (ROOT / "zoo").glob("*/*/metadata.json")
}
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
    (jet, tarflow) = re.search(r"in place of (\S+) and (\S+)\.", page).groups()
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
