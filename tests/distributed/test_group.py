"""What a process knows of its group: from the launcher's environment, in its data, and in what it refuses."""

import keras
import numpy as np
import pytest

from flowkit import Flow, data, distributed
from flowkit.app import main
from flowkit.app.commands import COMMANDS
from flowkit.bijectors import Shift
from flowkit.distributed import group
from flowkit.distributed.group import launched
from flowkit.engines import Engine, engine
from flowkit.training.checkpoint import assign_metrics, means, metrics

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({**TORCHRUN, "WORLD_SIZE": "1", "MASTER_PORT": "none"}, None),  # which nobody meets
        (dict.fromkeys(TORCHRUN, ""), None),  # as `RANK= WORLD_SIZE= python ...` leaves them
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # the batch script itself
        (TORCHRUN, ("torchrun", 2, 0, 0, "localhost:1")),
        (
            {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": "a:1,b:1",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": "1",
            },
            ("KERAS_DISTRIBUTION", 2, 1, None, "a:1"),
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "2"},
            ("JAX", 3, 2, None, "a:1"),
        ),
        (
            {
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_PROCID": "1",
                "SLURM_STEP_NODELIST": "rack[1-2]-node[07-09,12],b",
            },
            ("SLURM", 2, 1, None, "rack1-node07:65000"),
        ),
    ],
)
def test_the_environment_says_who_this_is(environment, expected):
    assert launched(environment) == expected


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        ({**TORCHRUN, "RANK": "2"}, "process 2 of 2"),
        ({**TORCHRUN, "RANK": ""}, "RANK: got '', expected a whole number from the launcher"),
    ],
)
def test_an_environment_that_does_not_fit_together_is_refused(environment, match):
    with pytest.raises(ValueError, match=match):
        launched(environment)


def test_start_comes_before_the_model(monkeypatch):
    Flow(Shift())
    monkeypatch.setattr(group, "_started", False)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="before any model is made"):
        distributed.start()


def test_a_command_that_such_an_engine_is_given_in_a_group_is_refused_in_one_line(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(group, "_started", False)
    monkeypatch.setattr(group, "_model_made", False)
    monkeypatch.setattr(engine, "join", lambda *given: Engine.join(engine, *given))
    monkeypatch.setattr(engine, "name", "tensorflow")
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "glow/digits", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "flowkit: distributed: got a group of 2 processes on tensorflow, expected PyTorch or JAX"
    )
    assert not (tmp_path / "run").exists()


OF_ONE = {
    "diagnose": ["run"],
    "compare": ["run", "run"],
    "interpolate": ["run", "a.png", "a.png"],
    "manipulate": ["run", "a.png", "--from-class", "0", "--to-class", "1"],
    "play": ["run"],
    "convert": ["run", "-o", "weights.npz"],
    "preset": ["run", "made"],
    "check": ["flowkit.bijectors:ActNorm"],
    "info": [],
    "export": ["run", "-o", "decode.onnx"],
    "score": ["run", "a.csv"],
    "impute": ["run", "a.csv"],
}


def test_a_command_of_one_process_is_left_to_the_main_one(monkeypatch, capsys, tmp_path):
    assert {*COMMANDS} == {*OF_ONE, "train", "sample", "evaluate", "list"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    for variable, value in {**TORCHRUN, "RANK": "1"}.items():
        monkeypatch.setenv(variable, value)
    for name, words in OF_ONE.items():
        assert main([name, *words]) == 0
        assert capsys.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    monkeypatch.setenv("RANK", "0")
    assert main(["info"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("flowkit: note: this command works in one process: of the 2 that torchrun has")
    assert "keras" in said.out


def test_processes_that_have_not_joined_do_not_train_apart(monkeypatch):
    monkeypatch.setattr(group, "_started", False)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    flow = Flow(Shift())
    flow.compile("sgd")
    with pytest.raises(RuntimeError, match=r"got several processes.*distributed\.start"):
        flow.fit(np.ones((4, 2), "float32"), verbose=0)


def test_processes_with_other_numbers_of_rows_are_refused_before_they_wait(monkeypatch):
    flow = Flow(Shift())
    flow.compile("sgd")
    flow.build((None, 2))
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda told: np.concatenate([told, told + 1]))
    monkeypatch.setattr(group, "_started", True)
    for ask in (flow.fit, flow.evaluate):
        with pytest.raises(ValueError, match=r"got another .*, expected the same in all 2"):
            ask(np.ones((4, 2), "float32"), verbose=0)


def test_processes_share_each_batch_without_overlap(monkeypatch):
    whole = [batch.tolist() for (batch,) in data.batches(np.arange(12), batch_size=6, seed=1)]
    parts = []
    monkeypatch.setattr(distributed, "world", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append([batch.tolist() for (batch,) in data.batches(np.arange(12), batch_size=6, seed=1)])
    assert [[*first, *second, *third] for first, second, third in zip(*parts, strict=True)] == whole
    with pytest.raises(ValueError, match=r"got 4, expected a multiple of the 3 processes.*\. The next is 6"):
        data.batches(np.arange(12), batch_size=4)


def test_processes_augment_their_rows_in_ways_of_their_own(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    drawn = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        noisy = data.batches(np.zeros(8), batch_size=8, augment=lambda x, rng: x + rng.uniform(size=x.shape))
        drawn.append(noisy[0][0])
    assert not np.isin(drawn[0], drawn[1]).any()


@pytest.mark.skipif(engine.name != "torch", reason="other engines average in one program")
def test_gradients_are_averaged_before_the_optimizer_reads_them(monkeypatch):
    import torch

    from flowkit.engines import torch_group

    monkeypatch.setattr(group, "_started", True)
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch_group, "_summed", lambda grads: [grad + 4 for grad in grads])
    monkeypatch.setattr(engine, "summed", lambda tensors: tensors)
    flow = Flow(Shift())
    flow.compile(keras.optimizers.SGD(1.0))
    x = np.zeros((4, 2), "float32")
    flow.build((None, 2))
    flow.train_on_batch(x)
    # The gradient is 0 at 0, and (0 + 4) / 2 of both.
    np.testing.assert_array_equal(flow.get_weights()[0], [-2, -2])


@pytest.mark.skipif(engine.name != "torch", reason="other engines have one mean for all processes")
def test_means_of_an_epoch_that_is_not_over_are_kept_of_all_and_go_on_in_the_main_process(monkeypatch):
    flow = Flow(Shift())
    flow.compile("sgd")
    flow.train_on_batch(np.ones((4, 2), "float32"))
    named = metrics(flow)
    own = {name: float(variable) for name, variable in named.items()}
    assert any(own.values())
    monkeypatch.setattr(engine, "summed", lambda tensors: [2 * tensor for tensor in tensors])
    kept = means(flow)
    assert {name: float(array) for name, array in kept.items()} == {name: 2 * own[name] for name in own}
    for rank in (0, 1):
        monkeypatch.setattr(engine, "process_rank", lambda rank=rank: rank)
        assign_metrics("a.npz", kept, flow)
        expected = {name: 0 if rank else 2 * own[name] for name in own}
        assert {name: float(variable) for name, variable in named.items()} == expected
