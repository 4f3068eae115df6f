"""The GPU that is here, what it can do at most, and whether its driver is new enough for what is installed.

    python benchmarks/card.py     # prints the card; stops with one line if nothing can be measured

Reads nvidia-smi's answer as text, so that all of it can be tried without a card.
"""

import importlib.metadata
import re
import subprocess
import sys
from typing import NamedTuple

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")

# TFLOP/s without sparsity, float32 outside of tensor cores: NVIDIA's data sheets. None: the card has no such units.
PEAKS = {
    r"H100 PCIe": {"float32": 51, "tf32": 378, "bfloat16": 756},
    r"H100 80GB HBM3": {"float32": 67, "tf32": 495, "bfloat16": 989},
    r"H200$": {"float32": 67, "tf32": 495, "bfloat16": 989},
    r"A100": {"float32": 19.5, "tf32": 156, "bfloat16": 312},
    r"L4": {"float32": 30.3, "tf32": 60, "bfloat16": 121},
    r"T4": {"float32": 8.1, "tf32": None, "bfloat16": None},
    r"RTX 4090$": {"float32": 82.6, "tf32": 82.6, "bfloat16": 165.2},
}

# The oldest driver for each major version of CUDA, on Linux: NVIDIA, "CUDA Compatibility", minor version compatibility.
OLDEST_DRIVER = {12: 525, 13: 580}


class Card(NamedTuple):
    name: str
    driver: str
    memory: str

    def peak(self, precision):
        """TFLOP/s of the card at best, None if that is not known or the card cannot."""
        known = [peak for name, peak in PEAKS.items() if re.search(rf"\b{name}(?!\w)", self.name)]
        return known[0].get(precision) if known else None


def read_cards(text):
    """The cards in nvidia-smi's answer to `QUERY`. Raises ValueError for another text."""
    lines = [line for line in text.splitlines() if line.strip()]
    fields = [[field.strip() for field in line.split(",")] for line in lines]
    if not fields or any(len(row) != 3 or not re.match(r"\d+\.", row[1]) for row in fields):
        raise ValueError(f"got {text.strip()[:200]!r}, expected 'name, driver, memory' for each card")
    return [Card(*row) for row in fields]


def cards():
    """The cards that nvidia-smi sees. Raises RuntimeError with the reason if there is none."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"no NVIDIA card: nvidia-smi {_why(error)}") from None
    if done.returncode != 0:
        raise RuntimeError(f"no NVIDIA card: {' '.join((done.stdout + done.stderr).split())[:200]}")
    try:
        return read_cards(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"nvidia-smi: {error}") from None


def _why(error):
    return "is not installed" if isinstance(error, FileNotFoundError) else "does not answer"


def cuda_versions():
    """engine -> the major version of CUDA that it was installed with, None for an engine without CUDA."""
    found = {"torch": None, "jax": None}
    try:
        import torch

        found["torch"] = torch.version.cuda and int(torch.version.cuda.split(".")[0])
    except ImportError:
        pass
    for major in OLDEST_DRIVER:
        try:
            importlib.metadata.version(f"jax-cuda{major}-plugin")
            found["jax"] = major
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def complaints(card, versions):
    """What is wrong with the card's driver and the engines' CUDA: one line each."""
    for engine, major in versions.items():
        oldest = OLDEST_DRIVER.get(major)
        if major is None:
            yield f"{engine} is installed without CUDA: pip install -r backends/{engine}/requirements-gpu.txt"
        elif oldest is None:
            yield f"{engine} needs CUDA {major}, of which this script does not know the oldest driver"
        elif int(card.driver.split(".")[0]) < oldest:
            yield (
                f"{engine} brings CUDA {major}, which needs NVIDIA's driver {oldest} or newer; here is {card.driver}. "
                f"Update the driver, or install {engine} for an older CUDA: backends/{engine}/README.md"
            )


def main():
    try:
        card = cards()[0]
    except RuntimeError as error:
        sys.exit(f"card.py: {error}. Nothing is measured.")
    versions = cuda_versions()
    peaks = ", ".join(f"{p} {card.peak(p) or 'unknown'}" for p in ("float32", "tf32", "bfloat16"))
    print(f"{card.name}, {card.memory}, driver {card.driver}; peak TFLOP/s: {peaks}")
    print(", ".join(f"{engine} with CUDA {major or '-'}" for engine, major in versions.items()))
    wrong = list(complaints(card, versions))
    if wrong:
        sys.exit("".join(f"card.py: {line}\n" for line in wrong) + "card.py: Nothing is measured.")


if __name__ == "__main__":
    main()
