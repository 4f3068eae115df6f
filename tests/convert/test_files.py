"""Reading foreign files, on whichever engine runs, and without running what they may hold."""

import zipfile

import numpy as np
import pytest
from published_model import random_checkpoint

from flowkit.convert import read_variables
from flowkit.convert.weights import arrays_of


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in other.items():
        np.testing.assert_array_equal(one[name], array)


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
    with pytest.raises(ValueError, match=r"\(a list, no names.*, expected a state dict"):
        read_variables(tmp_path / "list.pt")


def refused(path, match, **options):
    with pytest.raises(ValueError, match=match) as caught:
        read_variables(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_bfloat16_and_parameters_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    numbers = torch.tensor([0.5, -3.0, 1e30])
    state = {
        "half": numbers.bfloat16(),
        "parameter": torch.nn.Parameter(numbers),
        "half parameter": torch.nn.Parameter(numbers.bfloat16()),
        "part": numbers[::2],
        "eighth": numbers[:2].to(torch.float8_e4m3fn),
        "flags": torch.tensor([True]),
    }
    torch.save(state, tmp_path / "model.pt")
    found = read_variables(tmp_path / "model.pt")
    for name, value in state.items():
        expected = value.detach().float().numpy()
        np.testing.assert_array_equal(found[name], expected)
    assert found["half"].dtype == found["half parameter"].dtype == "float32"
    same(arrays_of(state), found)  # the same without a file between


def test_tensors_that_do_not_hold_their_numbers_are_named(tmp_path):
    torch = pytest.importorskip("torch")
    numbers = torch.ones(2, 2)
    for tensor, kind in (
        (numbers.to_sparse(), "sparse"),
        (torch.quantize_per_tensor(numbers, 0.1, 0, torch.qint8), "qint8"),
        (torch.ones(2, device="meta"), "meta"),
        (torch.zeros(1, dtype=torch.complex32), "complex32"),
    ):
        torch.save({"good": numbers, "layer.weight": tensor}, tmp_path / "model.pt")
        refused(tmp_path / "model.pt", rf"layer\.weight: got .*{kind}.*, expected dense numbers")
        with pytest.raises(ValueError, match=r"layer\.weight: got .*, expected dense numbers"):
            arrays_of({"layer.weight": tensor})


def test_files_of_torch_take_no_more_than_they_hold(tmp_path, most_bytes):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(1).expand(1000, 1000, 1000)}, path)
    most_bytes(10**9)
    refused(path, "got data of .*, expected at most 1,000,000,000")
    torch.save({"a": torch.zeros(10**6)}, path)
    most_bytes(4 * 10**6 + 4000)
    assert read_variables(path)["a"].shape == (10**6,)
    with (
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in stored.namelist():
            new.writestr(name, stored.read(name))
    most_bytes(10**5)
    refused(tmp_path / "packed.pt", "got data of .*, expected at most 100,000")


def test_an_npz_is_measured_before_it_is_read(tmp_path, most_bytes):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(1000), b=np.zeros(1000))
    most_bytes(17_000)
    assert len(read_variables(path)) == 2
    most_bytes(15_000)
    refused(path, r"got data of .* bytes, expected at most 15,000")


def test_bfloat16_of_tensorflow_is_read(tmp_path, most_bytes):
    tf = pytest.importorskip("tensorflow")
    numbers = tf.constant([0.5, -3.0])
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=["half", "whole"],
        shape_and_slices=["", ""],
        tensors=[tf.cast(numbers, tf.bfloat16), numbers],
    )
    found = read_variables(tmp_path / "model.ckpt")
    same(found, {"half": numbers.numpy(), "whole": numbers.numpy()})
    assert found["half"].dtype == "float32"
    most_bytes(11)
    refused(tmp_path / "model.ckpt", "got data of 12 bytes, expected at most 11, half")
    most_bytes(12)
    numbers_of_it = tmp_path / "model.ckpt.data-00000-of-00001"
    numbers_of_it.write_bytes(numbers_of_it.read_bytes()[:-9])
    refused(tmp_path / "model.ckpt", "expected a TensorFlow checkpoint")


@pytest.mark.parametrize(("package", "name"), [("tensorflow", "model.ckpt.index"), ("torch", "model.pt")])
def test_a_missing_engine_is_named(monkeypatch, tmp_path, package, name):
    (tmp_path / name).touch()
    monkeypatch.setattr("flowkit.convert.weights.installed", lambda engine: engine != package)
    with pytest.raises(ImportError, match=rf"needs {package}: .*`pip install {package}`"):
        read_variables(tmp_path / name)
