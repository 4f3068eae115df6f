"""Reading foreign files, on whichever engine runs, and without running what they may hold."""

import numpy as np
import pytest
from published_model import random_checkpoint

from flowkit.convert import read_variables


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in other.items():
        np.testing.assert_array_equal(one[name], array)


def test_npz(tmp_path):
    variables = random_checkpoint(steps=1)
    np.savez(tmp_path / "weights.npz", **variables)
    same(read_variables(tmp_path / "weights.npz"), variables)


def test_a_checkpoint_of_tensorflow_1(tmp_path):
    tf = pytest.importorskip("tensorflow")
    variables = random_checkpoint(levels=1, steps=1, permutation="shuffle")
    prefix = tmp_path / "model_best_loss.ckpt"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in variables.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(prefix), write_meta_graph=False)
    for path in (prefix, f"{prefix}.index", tmp_path):
        same(read_variables(path), variables)


def test_a_state_dict_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    state = {
        "blocks.0.flows.0.actnorm.loc": torch.ones(1, 8, 1, 1),
        "flag": torch.tensor(1, dtype=torch.uint8),
    }
    torch.save(state, tmp_path / "model.pt")
    same(read_variables(tmp_path / "model.pt"), {name: value.numpy() for name, value in state.items()})
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"expected a state dict, as written by torch\.save"):
        read_variables(tmp_path / "whole.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="expected a state dict, names to tensors, received a list"):
        read_variables(tmp_path / "list.pt")


def test_what_cannot_be_read_is_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "empty.npz").touch()
    for name in ("objects.npz", "one.npy", "text.npz", "empty.npz"):
        with pytest.raises(ValueError, match=r"expected an \.npz file of plain arrays"):
            read_variables(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no such file, and no checkpoint a\.ckpt\.index beside it"):
        read_variables(tmp_path / "a.ckpt")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    pytest.importorskip("tensorflow")
    with pytest.raises(ValueError, match="expected a TensorFlow checkpoint"):
        read_variables(tmp_path)


@pytest.mark.parametrize(("package", "name"), [("tensorflow", "model.ckpt.index"), ("torch", "model.pt")])
def test_a_missing_engine_is_named(monkeypatch, tmp_path, package, name):
    (tmp_path / name).touch()
    monkeypatch.setattr("flowkit.backends.foreign_files.installed", lambda engine: engine != package)
    with pytest.raises(ImportError, match=rf"needs {package}: .*'keras-flowkit\[{package}\]'"):
        read_variables(tmp_path / name)
