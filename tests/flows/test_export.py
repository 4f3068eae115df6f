"""Flows as files that need no flowkit: what is written agrees, what differs is not left, the rest is refused."""

import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, zoo
from flowkit.bijectors import Coupling, Scale
from flowkit.conditioners import ConvNet
from flowkit.contract import BijectorSpec, ContractError, Domain, Surjection
from flowkit.contract.noise import Need
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.engines import engine
from flowkit.flow import export
from flowkit.flow.export import FORMATS, Format

on_torch = pytest.mark.skipif(engine.name != "torch", reason="a tracer of PyTorch's")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def needs(format):
    """Skip unless the packages for a format are there."""
    try:
        export.require(format)
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.one_engine
def test_the_page_has_the_formats_that_each_engine_writes():
    rows = re.findall(
        r"^\| `(\w+)` \|.*?\| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.MULTILINE
    )
    engines = ("torch", "jax", "tensorflow")
    assert {name: [word == "yes" for word in words] for name, *words in rows} == {
        name: [engine in row.packages for engine in engines] for name, row in FORMATS.items()
    }


@on_torch
def test_a_graph_goes_on_for_longer_than_the_rows_needed_that_it_was_made_from():
    import torch

    def halved(x):
        """Each number below 1."""
        step = lambda x: ops.where(x > 1, x / 2, x)  # noqa: E731
        return engine.iterate(step, 10, x, alive=lambda x: ops.any(x > 1))

    graph = torch.jit.trace(halved, torch.tensor([1.5]), check_trace=False)
    np.testing.assert_array_equal(graph(torch.tensor([1.5, 100.0])), [0.75, 0.78125])


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_answers_as_the_flow_or_is_refused(format, context_flow, x, context, tmp_path):
    flow = context_flow
    path = tmp_path / f"flow{FORMATS[format].suffix}"
    if engine.name not in FORMATS[format].packages:
        with pytest.raises(ValueError, match=f"got '{format}' on {engine.name}, expected .* for this format"):
            flow.export(path, "log_prob", format, context=context)
    else:
        needs(format)
        assert flow.export(path, "encode_and_log_prob", format, context=context[:2]) < 1e-5
        answers = export.read(path, format)({"x": x[:5], "context": context[:5]})
        expected = flow.encode(x, context), flow.log_prob(x, context)
        for received, known in zip(answers, expected, strict=True):
            np.testing.assert_allclose(received, known[:5], rtol=1e-4, atol=1e-5)
        assert {made.stem for made in tmp_path.iterdir()} == {"flow"}


@pytest.mark.one_engine
def test_images_come_back_from_their_file_which_is_written_without_a_word(
    image_flow, images, tmp_path, caplog, capfd
):
    needs("onnx")
    image_flow.export(tmp_path / "decode.onnx")
    assert [record.message for record in caplog.records if record.name.startswith("onnx")] == []
    assert "not known" not in capfd.readouterr().err
    (x,) = export.read(tmp_path / "decode.onnx", "onnx")({"z": image_flow.encode(images)})
    assert x.dtype == "float32"
    assert (x == images).all()


@on_torch
@pytest.mark.parametrize("what", ["decode", "encode_and_log_prob"])
def test_the_quick_way_writes_a_glow(what, image_flow, tmp_path, monkeypatch):
    """The other takes minutes for a flow of 16 steps: sizes that a tracer holds are numbers to us."""
    needs("onnx")
    monkeypatch.setattr(engine, "ways_to_write", lambda format: 1)
    assert image_flow.export(tmp_path / "flow.onnx", what) < 1e-5


@on_torch
@pytest.mark.parametrize(("family", "what"), [(zoo.iaf, "encode_and_log_prob"), (zoo.maf, "decode")])
def test_the_quick_way_writes_one_entry_after_the_other(family, what, x, perturb, tmp_path, monkeypatch):
    needs("onnx")
    flow = perturb(family(features=4, layers=2, hidden=[8, 8]).adapt(x), scale=0.2)
    monkeypatch.setattr(engine, "ways_to_write", lambda format: 1)
    assert flow.export(tmp_path / "flow.onnx", what) < 1e-5


@on_torch
def test_the_quick_way_writes_a_continuous_flow_of_images(perturb, tmp_path, monkeypatch):
    needs("onnx")
    flow = zoo.flow_matching(input_shape=(4, 4, 1), hidden=[8], solver="euler", steps=1)
    flow = perturb(flow.adapt(np.random.default_rng(0).integers(0, 256, (64, 4, 4, 1), dtype="uint8")))
    monkeypatch.setattr(engine, "ways_to_write", lambda format: 1)
    assert flow.export(tmp_path / "flow.onnx") < 1e-5
    with pytest.raises(ContractError, match="draws noise on the way to latents"):
        flow.export(tmp_path / "flow.onnx", "log_prob")


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "wrong",
    [
        lambda z: z + 1e-3,
        lambda z: z[:1],
        lambda z: z * np.nan,
        lambda z: z if len(z) < 64 else z + 1e-3,
        lambda z: z if len(z) != 3 else z + 1e-3,
    ],
)
def test_a_file_that_differs_is_not_left(wrong, vector_flow, monkeypatch, tmp_path):
    there = tmp_path / "flow.onnx"
    there.write_text("of an earlier export")
    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", {engine.name: ()}))
    monkeypatch.setattr(export, "write", lambda model, path, *given: path.write_text("wrong"))
    monkeypatch.setattr(
        export, "read", lambda *given: lambda inputs: [wrong(vector_flow.decode(inputs["z"], check=None))]
    )
    with pytest.raises(ContractError, match=r"flow's x to .* off by .* Nothing was written"):
        vector_flow.export(there)
    assert [made.read_text() for made in tmp_path.iterdir()] == ["of an earlier export"]


@pytest.fixture
def pictures():
    """A flow of images of 3 channels, whose draws fill the range of the pixels."""
    flow = Flow(Scale(1.5), dequantize=Dequantize())
    flow.build((None, 8, 8, 3))
    return flow


def answering(monkeypatch, answer):
    """Let a file give the answer of a function of its latents."""
    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", {engine.name: ()}))
    monkeypatch.setattr(export, "write", lambda model, path, *given: path.write_text("a file"))
    monkeypatch.setattr(export, "read", lambda *given: lambda inputs: [answer(inputs["z"]).astype("float32")])


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.where(x < 255, x + 1, 254),
        lambda x: x[..., ::-1],
        lambda x: x + 0.25,
        lambda x: x / 255 - 0.5,
        lambda x: np.where(np.arange(x.size).reshape(x.shape) == 100, 255 - x, x),
        lambda x: x * np.nan,
        lambda x: x[:1],
    ],
)
def test_a_file_of_other_pixels_is_not_left(wrong, pictures, monkeypatch, tmp_path):
    answering(monkeypatch, lambda z: wrong(pictures.decode(z, check=None).astype("float32")))
    with pytest.raises(ContractError, match=r"flow's x to .* off by .* Nothing was written"):
        pictures.export(tmp_path / "flow.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.one_engine
@pytest.mark.parametrize(("scale", "right"), [(5e-6, True), (-5e-6, True), (1e-3, False)])
def test_rounding_may_move_single_pixels_over_the_edge_of_a_bin(
    scale, right, pictures, monkeypatch, tmp_path
):
    moved = []

    def answer(z):
        x = pictures.decode(z * (1 + scale), check=None)
        moved.append((x != pictures.decode(z, check=None)).mean())
        return x

    answering(monkeypatch, answer)
    if right:
        assert pictures.export(tmp_path / "flow.onnx") <= 2 * abs(scale)
        assert 0 < max(moved) < 1e-2
    else:
        with pytest.raises(ContractError, match="flow's x to 1e-05 of its size"):
            pictures.export(tmp_path / "flow.onnx")


@keras.saving.register_keras_serializable("flowkit-tests")
class Halves(Surjection):
    """y = x + (u + v) / 2 of noise of two kinds, one of them at half its size: a dequantizer of an author's own."""

    spec = BijectorSpec(domain=Domain.whole(0, 255), noise="forward", likelihood="bound")

    def noise_needs(self, x_shape, *, inverse):
        size = 0 if inverse else math.prod(x_shape[1:])
        return (Need("uniform", size), Need("normal", size)) if size else ()

    def _forward(self, x, noise):
        u, e = ops.split(noise, 2, axis=-1)
        return x + ops.reshape(u * ops.sigmoid(e), ops.shape(x)), 0 * ops.sum(u, axis=-1)

    def _inverse(self, y):
        return ops.clip(ops.floor(y), 0, 255), 0 * ops.sum(y, axis=tuple(range(1, len(y.shape))))

    def validate(self, x):
        return x.astype("uint8")

    def as_stored(self, y):
        return np.clip(np.floor(np.asarray(y)), 0, 255).astype("uint8")


@pytest.mark.parametrize(
    ("dequantize", "to_middle"),
    [
        (Dequantize(), lambda x: (x + 0.5) / 256 - 0.5),
        (Dequantize(n_bits=5), lambda x: (x // 8 + 0.5) / 32 - 0.5),
        (Halves(), lambda x: x + 0.25),
    ],
)
def test_files_take_and_answer_stored_values(dequantize, to_middle, images, tmp_path):
    needs("onnx")
    flow = Flow(Scale(1.0), dequantize=dequantize)
    flow.build((None, 8, 8, 1))

    def written(what, given):
        flow.export(tmp_path / f"{what}.onnx", what)
        return export.read(tmp_path / f"{what}.onnx", "onnx")(given)

    pixels = images.astype("float32")
    (z,) = written("encode", {"x": pixels})
    np.testing.assert_allclose(z, np.e * to_middle(pixels), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(z, flow.encode(images), rtol=1e-5, atol=1e-6)
    (x,) = written("decode", {"z": z})
    assert x.dtype == "float32"
    np.testing.assert_array_equal(x, flow.decode(z))
    if dequantize.spec.log_det != "constant":
        with pytest.raises(ValueError, match="whose log-det varies"):
            flow.export(tmp_path / "density.onnx", "log_prob")
        return
    (log_prob,) = written("log_prob", {"x": pixels})
    normal = -0.5 * (z**2 + math.log(2 * math.pi)).reshape(len(z), -1).sum(axis=1)
    np.testing.assert_allclose(log_prob, normal + 64 * (1 - math.log(dequantize.levels)), rtol=1e-5)


@pytest.mark.parametrize("what", ["encode", "decode"])
def test_a_learned_dequantizer_is_written_without_its_noise(what, perturb, images, tmp_path):
    needs("onnx")
    noise = Coupling(ConvNet(4, context="required"), split="checkerboard")
    flow = Flow(Scale(1.0), dequantize=VariationalDequantize(noise))
    perturb(flow.adapt(images)).export(tmp_path / "flow.onnx", what)
    z = flow.encode(images)
    given, expected = (z, images) if what == "decode" else (images, z)
    inputs = {"z" if what == "decode" else "x": given.astype("float32")}
    (received,) = export.read(tmp_path / "flow.onnx", "onnx")(inputs)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


@pytest.mark.skipif(engine.name != "torch", reason="its exporters stay in a derivative in which they fail")
def test_a_flow_answers_after_an_exporter_has_failed_in_a_derivative(x, tmp_path):
    flow = zoo.residual(features=x.shape[1], layers=1, hidden=(4,)).adapt(x)
    before = flow.log_prob(x)
    with pytest.raises(ContractError, match="export"):
        flow.export(tmp_path / "density.onnx", what="log_prob", format="onnx")
    np.testing.assert_array_equal(flow.log_prob(x), before)
    assert not list(tmp_path.iterdir())


@pytest.mark.one_engine
def test_what_cannot_be_exported_is_said_beforehand(monkeypatch, tmp_path):
    flow = Flow(Scale(0.0))
    with pytest.raises(ContractError, match="to know the size of the data"):
        flow.export(tmp_path / "flow.onnx")
    flow.build((None, 2))
    with pytest.raises(ValueError, match=r"export's what: got 'sample', expected one of 'decode'"):
        flow.export(tmp_path / "flow.onnx", "sample")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.onnx"):
        flow.export(tmp_path / "flow.bin")
    monkeypatch.setitem(
        FORMATS, "onnx", FORMATS["onnx"]._replace(packages={engine.name: ("no_such_package",)})
    )
    with pytest.raises(
        ImportError, match=r"needs no_such_package: in flowkit's clone run pip install -e '\.\[export"
    ):
        flow.export(tmp_path / "flow.onnx")
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(packages={engine.name: ()}))
    assert not list(tmp_path.iterdir())


@pytest.mark.one_engine
def test_a_jax_that_jax2onnx_does_not_support_is_named(monkeypatch):
    versions = {"jax": "0.12.1", "jax2onnx": "0.17.1"}
    monkeypatch.setattr(export, "engine", type("Engine", (), {"name": "jax"}))
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(export.metadata, "version", versions.get)
    with pytest.raises(ImportError, match=r"got JAX 0\.12\.1, .* run pip install 'jax<0\.12'"):
        export.require("onnx")
    versions["jax2onnx"] = "0.18.0"
    export.require("onnx")
