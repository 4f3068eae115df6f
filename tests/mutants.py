"""What the tests notice: break lines of flowkit at random, and run the tests that cover them.

    pip install coverage                             (once; nothing else needs it)
    python tests/mutants.py cover tests              (ten minutes: which tests run which line; takes options of pytest)
    python tests/mutants.py break 300 --seed 1       (prints killed and survived by room, and each survivor)

Neither `make test` nor `make check` runs this. What tests do in other processes is not seen.
"""

import argparse
import ast
import collections
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORED = ROOT / ".mutants.json"  # {"lines": {file: {line: [tests]}}, "seconds": {test: seconds}}
PAIRS = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)]
PAIRS += [(ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)]
OTHER = dict(PAIRS) | {other: one for one, other in PAIRS}


class Coverage:
    """A plugin of pytest that stores which tests run which line of flowkit, and how long they take."""

    def __init__(self):
        import coverage

        self.seconds = collections.Counter()
        self.measured = coverage.Coverage(data_file=None, source=[str(ROOT / "flowkit")], config_file=False)
        self.measured.start()

    def pytest_runtest_logstart(self, nodeid):
        self.measured.switch_context(nodeid.partition("[")[0])

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid.partition("[")[0]] += report.duration

    def pytest_sessionfinish(self):
        self.measured.stop()
        data, lines = self.measured.get_data(), {}
        for file in data.measured_files():
            contexts = data.contexts_by_lineno(file).items()
            lines[str(Path(file).relative_to(ROOT))] = {line: list(filter(None, of)) for line, of in contexts}
        STORED.write_text(json.dumps({"lines": lines, "seconds": self.seconds}))


def mistakes(node):
    """Return (node, what stands in its place) for each mistake that a node may have."""
    found = []
    if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp):
        one, several = copy.deepcopy(node), isinstance(node, ast.Compare)
        if other := OTHER.get(type(one.ops[0] if several else one.op)):
            one.op, one.ops = other(), [other(), *one.ops[1:]] if several else []
            found.append((node, one))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        values = [not node.value] if isinstance(node.value, bool) else [node.value + 1, node.value - 1]
        found += [(node, ast.Constant(value)) for value in values]
    elif isinstance(node, ast.Return) and node.value is not None:
        found.append((node, ast.Return(ast.Constant(None))))
    elif isinstance(node, ast.Raise | ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        found.append((node, ast.Pass()))
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        found.append((node.test, ast.UnaryOp(ast.Not(), copy.deepcopy(node.test))))
    return found


def mutants(file):
    """Yield (file, node, what stands in its place); nothing inside f-strings, whose nodes have no place."""
    waiting = [ast.parse((ROOT / file).read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.JoinedStr):
            yield from ((file, *mistake) for mistake in mistakes(node))
            waiting += ast.iter_child_nodes(node)


def changed(text, node, other):
    """Return the text of a file with a node replaced, and what it is replaced by."""
    lines = text.encode().splitlines(keepends=True)
    start = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    end = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    new = ast.unparse(other) if isinstance(other, ast.stmt) else f"({ast.unparse(other)})"
    return (start + new.encode() + end).decode(), new


def verdict(tree, tests, seconds):
    """Return 'killed' if one of the tests fails or hangs in a copy of the repository, 'survived' if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    own = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    try:
        code = subprocess.run(command, cwd=tree, env=own, capture_output=True, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        code = None
    return "survived" if code == 0 else "killed"


def break_some(count, seed, seconds):
    stored, chance = json.loads(STORED.read_text()), random.Random(seed)
    rooms, found = collections.defaultdict(list), collections.defaultdict(collections.Counter)
    for file in sorted(stored["lines"]):
        rooms[Path(file).parts[1].removesuffix(".py")] += mutants(file)
    names = sorted(filter(rooms.get, rooms))
    chance.shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        left_out = shutil.ignore_patterns(".*", "runs", "site", "build", "dist", "__pycache__")
        tree = Path(shutil.copytree(ROOT, Path(folder) / "tree", ignore=left_out))
        for number in range(count):
            name = names[number % len(names)]
            file, node, other = chance.choice(rooms[name])
            text = (ROOT / file).read_text("utf-8")
            mutated, new = changed(text, node, other)
            tests, total = [], 0.0
            covering = stored["lines"][file].get(str(node.lineno), [])
            for test in sorted(covering, key=stored["seconds"].get):  # the quickest, for a third of the time
                total += stored["seconds"][test]
                tests += [test] if not tests or total < seconds / 3 else []
            (tree / file).write_text(mutated, "utf-8")
            said = verdict(tree, tests, seconds) if tests else "not covered"
            (tree / file).write_text(text, "utf-8")
            found[name][said] += 1
            if said != "killed":
                old = " ".join(ast.get_source_segment(text, node).split())
                print(
                    f"{said}: {file}:{node.lineno}  {old[:50]}  ->  {new[:50]}  ({len(tests)} tests)",
                    flush=True,
                )
    for name in sorted(found):
        print(f"{name:15}", *(f"{said} {number:4}" for said, number in sorted(found[name].items())))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cover", "break"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0, help="for the tests of a mutant")
    given, rest = parser.parse_known_args()
    if given.what == "break":
        return break_some(int(rest[0]), given.seed, given.seconds)
    import pytest

    return pytest.main(["-n", "0", "-m", "not long", "--bijector-profile", "fast", *rest], [Coverage()])


if __name__ == "__main__":
    sys.exit(main())
