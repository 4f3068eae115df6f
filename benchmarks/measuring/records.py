"""What a long run has measured so far, a line of JSON each: killed at any moment, it goes on from there."""

import json
from pathlib import Path


class Records:
    """The lines of a file, by what was measured: `key` names the entries that say it.

    The file is read each time, since another process may write to it as well. A line that a kill has cut short counts
    as not written.
    """

    def __init__(self, path, key):
        self.path, self.key = Path(path), key

    def find(self, **about):
        """The last row about that, or None: a measurement that was repeated replaces the one before it."""
        wanted = [about[name] for name in self.key]
        found = [row for row in self._whole_lines() if [row.get(name) for name in self.key] == wanted]
        return found[-1] if found else None

    def add(self, **row):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cut_short = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with open(self.path, "a") as file:
            file.write("\n" * cut_short + json.dumps(row) + "\n")

    def _whole_lines(self):
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue
