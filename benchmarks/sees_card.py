"""Whether an engine computes on the GPU: python benchmarks/sees_card.py torch (or jax).

Prints the card's name, or stops with one line. An engine that finds no GPU runs on the CPU without a word, and would
be measured there.
"""

import argparse
import importlib
import sys

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("engine", choices=["torch", "jax"])
engine = parser.parse_args().engine
try:
    print(f"{engine} computes on {importlib.import_module(f'measuring.{engine}_device').computes_on()}")
except Exception as error:  # a driver may fail in any way
    reason = " ".join(str(error).split())[:300]
    sys.exit(f"sees_card.py: {engine} does not compute on a GPU ({type(error).__name__}: {reason}).")
