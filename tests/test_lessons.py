"""The marks of the lessons: a starting point is wrong, a solution is right, and a wrong answer is told its mistake."""

import re
import sys
import types
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

LESSONS = Path(__file__).parents[1] / "docs" / "lessons"
MARKED = "import flowkit", "class My", "check_bijector(", "class Solution"

WRONG = [
    (
        1,
        "return z, ops.sum(s, axis=-1)",
        "return z, -ops.sum(s, axis=-1)",
        "log-det: .* The sign is the other one",
    ),
    (1, "return z, ops.sum(s, axis=-1)", "return z, s", "round trip: .*sum_event sums over an event"),
    (1, "(b - t) * ops.exp(-s)", "b * ops.exp(-s) - t", "round trip: .* in another order"),
    (2, "height * width * ops", "ops", "log-det: .* 6 times too small, and the event has shape"),
    (2, "ops.inv(self.matrix)", "ops.transpose(self.matrix)", "round trip: .* undoes another map"),
    (2, "ops.slogdet(self.matrix)[1]", "ops.log(ops.det(self.matrix))", "log-det: .* of the absolute value"),
    (2, "-self._log_det(z)", "self._log_det(z)", "inverse log-det: .* The sign is the other one"),
    (3, "ops.where(inside, ops.log(slope), 0.0)", "slope", "log-det: .* a logarithm is missing"),
    (3, "inside, -ops.log(slope)", "inside, ops.log(slope)", "inverse log-det: .* The sign is the other one"),
    (
        3,
        "ops.where(inside, z, x)",
        "ops.where(inside, z, x + 0.1)",
        r"round trip: .* first wrong near \|x\| = 2\.",
    ),
    (4, "return means", "return ops.mean(means, axis=0)", "batch independence: .* runs over the batch axis"),
    (4, "-ops.sum(self.log_sigma)", "ops.sum(self.log_sigma)", "log-det: .* The sign is the other one"),
    (4, " + self._mean(context)", "", "round trip: .* undoes another map"),
]


@pytest.fixture
def mark(monkeypatch, capsys):
    """Run the cells of a lesson that mark an answer: return what the first and the last of them print."""

    def of(number, right="", wrong=""):
        (page,) = LESSONS.glob(f"{number}-*.md")
        cells = re.findall(r"^```\{code-cell\} python\n(.*?)^```", page.read_text("utf-8"), flags=re.M | re.S)
        lesson = types.ModuleType("lesson")
        monkeypatch.setitem(sys.modules, "lesson", lesson)
        printed = []
        for k, cell in enumerate(cell for cell in cells if any(word in cell for word in MARKED)):
            code = cell.replace(":tags: [hide-cell]\n", "")
            if right and "class Solution" in code:
                assert right in code
                code = code.replace(right, wrong)
            exec(compile(code, f"<ipython-{k}>", "exec"), vars(lesson))
            printed.append(capsys.readouterr().out)
        marks = [text for text in printed if "kept" in text or "broken" in text]
        return marks[0], marks[-1]

    return of


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_lesson_begins_wrong_and_ends_right(mark, number):
    first, last = mark(number)
    assert "broken" in first
    assert re.match(r"Solution .*: \d kept$", last.splitlines()[0])


@pytest.mark.parametrize(("number", "right", "wrong", "hint"), WRONG)
def test_a_wrong_answer_is_told_its_mistake(mark, number, right, wrong, hint):
    assert re.search(f"broken +{hint}", mark(number, right, wrong)[1])
