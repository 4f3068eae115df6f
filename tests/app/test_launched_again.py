"""A launcher's command says --resume whether it starts a run or starts it again."""

import pytest

from flowkit.app.failure import CommandError
from flowkit.app.run_folder import RunFolder

pytestmark = pytest.mark.one_engine

LAUNCHED = {
    "torchrun, one process": {"RANK": "0", "WORLD_SIZE": "1"},
    "torchrun": {"RANK": "0", "WORLD_SIZE": "8"},
    "srun": {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a"},
}


@pytest.fixture
def new(tmp_path):
    """A run that is not there yet, whose name is nearly that of one that is."""
    (tmp_path / "cifar-a").mkdir()
    (tmp_path / "cifar-a" / "recipe.toml").touch()
    return RunFolder(tmp_path / "cifar-b")


def test_who_types_it_may_have_meant_the_other_run(new):
    with pytest.raises(CommandError, match=r"did you mean .*cifar-a"):
        new.check_resumable()


def test_who_types_quite_another_name_is_told_which_runs_are_there(new, capsys, monkeypatch):
    other = RunFolder(new.path.parent / "digits")
    other.check_resumable()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{other.path} is not there, so a new run begins" in line
    assert line.endswith("cifar-a")
    for name, value in LAUNCHED["torchrun"].items():
        monkeypatch.setenv(name, value)
    other.check_resumable()
    RunFolder(new.path.parent / "nowhere" / "digits").check_resumable()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_a_launcher_begins_a_run_and_says_so(new, launcher, monkeypatch, capsys):
    for name, value in LAUNCHED[launcher].items():
        monkeypatch.setenv(name, value)
    new.check_resumable()
    (line,) = capsys.readouterr().err.splitlines()
    assert "cifar-b is a new run" in line
    assert "cifar-a is another" in line
