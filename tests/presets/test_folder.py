"""A preset comes back as it was; what is damaged, newer, foreign or brings code is refused in a sentence."""

import errno
import hashlib
import json
import os
import shutil
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from tolerance import REREAD

from flowkit import Flow, LabelledFlow, PresetError, _shipped, presets, zoo
from flowkit.app import main
from flowkit.bijectors import Chain, Scale
from flowkit.flow.saving import load_file
from flowkit.presets.folder import check_config, read_preset


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A compiled and trained flow, and the folder that it was saved to."""
    flow = zoo.nsf(features=2, layers=1, hidden=[8])
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    flow.compile(keras.optimizers.Adam(1e-2))
    flow.fit(x, epochs=1, verbose=0)
    folder = tmp_path_factory.mktemp("presets") / "mine"
    about = {
        "license": "cc0-1.0",
        "data": {"name": "noise", "sha256": "0" * 64},
        "measured": {"test_log_prob": -2.8125, "test_standard_error": 0.25, "test_rows": 64},
    }
    flow.save_to_preset(folder, rows=x[:4], about=about)
    return flow, x, folder


@pytest.fixture
def copy(preset, tmp_path):
    return shutil.copytree(preset[2], tmp_path / "copy")


def resum(folder, name):
    """What somebody who means harm would do: the sums are right."""
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(metadata))


def test_it_comes_back_with_the_same_likelihoods_and_without_its_optimizer(preset):
    flow, x, folder = preset
    loaded = Flow.from_preset(folder)
    np.testing.assert_allclose(loaded.log_prob(x), flow.log_prob(x), rtol=REREAD)
    assert not loaded.compiled
    assert (folder / "model.weights.h5").stat().st_size < 150_000
    kept = np.load(folder / "check.npz")
    np.testing.assert_array_equal(kept["rows"], x[:4])
    np.testing.assert_allclose(kept["log_prob"], flow.log_prob(x[:4]), rtol=REREAD)


def test_the_card_is_what_the_metadata_say_and_a_header_that_yaml_reads(preset):
    text = (preset[2] / "README.md").read_text()
    assert text == presets.card(read_preset(preset[2]).metadata)
    assert "| test log prob | -2.8125 +- 0.2500 |" in text
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(text).data
    assert (data.license, data.library_name) == ("cc0-1.0", "flowkit")


def test_a_folder_that_is_taken_and_a_save_that_fails_leave_nothing_behind(preset, tmp_path, monkeypatch):
    flow, x, folder = preset
    with pytest.raises(PresetError, match="got a folder with files, expected a new folder"):
        flow.save_to_preset(folder)
    monkeypatch.setattr(Flow, "log_prob", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        flow.save_to_preset(tmp_path / "new", rows=x)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(presets.folder, "card", full)
    with pytest.raises(OSError, match="No space left"):
        flow.save_to_preset(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    for name in ("notes.txt", "config.json", "../samples.png"):
        with pytest.raises(
            PresetError, match=f"extra: got '{name}', expected .* or NAME.png as further files"
        ):
            flow.save_to_preset(tmp_path / "new", extra={name: b""})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="expected to know the size of the data"):
        Flow(Chain([Scale(0.0)])).save_to_preset(tmp_path / "new")


def with_metadata(**other):
    def change(folder):
        path = folder / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **other}))

    return change


def with_config(**parts):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        config["config"] |= parts
        (folder / "config.json").write_text(json.dumps(config))
        resum(folder, "config.json")

    return change


def with_class(module, name):
    return with_config(embedding={"module": module, "class_name": name, "config": {}})


def with_links(link):
    """Weights that point elsewhere, which Keras refuses."""

    def change(folder):
        with h5py.File(folder / "model.weights.h5", "r+") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            for name in names:
                del file[name]
                file[name] = link
        resum(folder, "model.weights.h5")

    return change


def with_flipped_weights(folder):
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")


NAMES = [f"column {i}" for i in range(3)]
PAYLOAD = "keras_cv.assets.payload"  # of the packages that Keras imports by name, one that is not installed
LIBRARY = "expected 'pandas', 'polars' or None"
CODE = r"contains code, a (lambda|Lambda|TorchModuleWrapper), and"
SHA = r"model.weights.h5: got SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"
LINKED = "objects could not be loaded"
NEWER = {"preset": 2, "versions": {"flowkit": "9.0"}}
FORMAT = r"got a preset of format 2, expected .*: it was written by flowkit 9.0.*Update flowkit"
DAMAGED = "damaged or something else"
HARM = [
    (with_flipped_weights, SHA),
    (lambda folder: (folder / "model.weights.h5").unlink(), "model.weights.h5 is missing"),
    (with_links(h5py.SoftLink("/b")), LINKED),
    (with_links(h5py.ExternalLink("other.h5", "/a")), LINKED),
    (with_metadata(**NEWER), FORMAT),
    *((with_metadata(**other), DAMAGED) for other in ({"versions": [1]}, {"files": {}}, {"preset": "1"})),
    *(
        (lambda folder, text=text: (folder / "metadata.json").write_text(text), DAMAGED)
        for text in ("[]", "{", '{"preset": 1}')
    ),
    *(
        (
            lambda folder, name=name: os.truncate(folder / name, 2**40),
            f"{name}: got a larger {name}, .* at most 4194304",
        )
        for name in ("config.json", "metadata.json")  # sparse files
    ),
    (with_class("builtins", "__lambda__"), CODE),
    (with_class("keras.layers", "Lambda"), CODE),
    (with_class("keras", "layers.Lambda"), CODE),
    (with_class("keras.layers", "TorchModuleWrapper"), CODE),
    (with_class("os", "system"), r"cannot be loaded: .*written by another version than flowkit"),
    (with_class(PAYLOAD, "X"), r"names a class of 'keras_cv'.* import it first"),
    (with_config(columns=[NAMES, PAYLOAD]), LIBRARY),
    (with_config(context_columns=[NAMES, ["pandas"]]), LIBRARY),
    (with_config(columns=[["a", "a", "b"], "pandas"]), "expected a name of its own for each column"),
]


@pytest.mark.parametrize(("change", "message"), HARM)
def test_what_was_changed_is_refused_and_runs_no_code(preset, tmp_path, monkeypatch, change, message):
    """A file beside the weights can be imported if the preset lies below the working folder. Keras may run code."""
    folder = shutil.copytree(preset[2], tmp_path / "keras_cv")
    (folder / "assets").mkdir()
    (folder / "assets" / "payload.py").write_text("raise SystemExit('code of a preset ran')\n")
    resum(folder, "assets/payload.py")
    change(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(PresetError, match=message):
            Flow.from_preset(folder)
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", True)


def test_what_is_no_preset_is_named(preset, tmp_path):
    (tmp_path / "recipe.toml").touch()
    (tmp_path / "flow.keras").touch()
    for name, message in (
        (tmp_path / "none", "expected the folder of a preset"),
        (tmp_path, r"got a run, expected a preset. `flowkit preset .* NAME` makes a preset of it"),
        (tmp_path / "flow.keras", r"got .*flow\.keras, expected the folder of a preset"),
        ("glow/digit", r"got glow/digit, expected the folder of a preset, .*nearest are glow/digits"),
    ):
        with pytest.raises(PresetError, match=message):
            Flow.from_preset(name)
    with pytest.raises(PresetError, match=r"got a Flow, expected a LabelledFlow"):
        LabelledFlow.from_preset("glow/digits")
    with pytest.raises(ValueError, match=LIBRARY):
        Flow.from_config({**Flow.from_preset(preset[2]).get_config(), "columns": [NAMES, PAYLOAD]})


def test_damaged_weights_are_refused_in_one_line(copy, capsys):
    weights = copy / "model.weights.h5"
    whole = weights.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(12):  # where there is structure, and not in the numbers
        damaged = bytearray(whole)
        damaged[64 : 64 + 512] = rng.bytes(512)
        start = int(rng.integers(0, len(whole) - 256))
        damaged[start : start + 256] = rng.bytes(256)
        weights.write_bytes(damaged)
        resum(copy, weights.name)
        try:
            Flow.from_preset(copy)
        except PresetError:
            refused += 1
            assert main(["info", str(copy)]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert "FLOWKIT_DEBUG" not in said
    assert refused > 6


def test_text_of_others_reaches_the_terminal_escaped_and_cut(copy, capsys):
    path = copy / "metadata.json"
    about = {"license": "mit\x1b[2J" + "x" * 1_000_000, "data": {"name": "\x1b]0;title\x07"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **about}))
    config = json.loads((copy / "config.json").read_text())
    config["config"]["name"] = "evil\x1b[31m"
    (copy / "config.json").write_text(json.dumps(config))
    resum(copy, "config.json")
    assert main(["info", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "mit\\x1b[2Jxxx" in out
    assert len(out) < 10_000
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "preset": 2, "versions": {"flowkit": "9\x1b[2J"}})
    )
    assert main(["info", str(copy)]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert r"flowkit 9\x1b[2J" in err


def test_a_path_is_a_path_and_a_name_a_name(preset, tmp_path, monkeypatch):
    flow, x, folder = preset
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    flow.save_to_preset("./mine")
    for name in ("./mine", "mine", "mine/", "../" + tmp_path.name + "/mine", "~/mine"):
        np.testing.assert_allclose(Flow.from_preset(name).log_prob(x), flow.log_prob(x), rtol=REREAD)
    assert read_preset("./mine").metadata["name"] == "mine"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    flow.save_to_preset(".")
    assert read_preset(".").metadata["name"] == "here"
    monkeypatch.chdir(tmp_path)
    for name in ("./glow/digits", "../digits", str(tmp_path / "none")):
        with pytest.raises(PresetError, match="expected the folder of a preset"):
            presets.find_preset(name)
    shipped = presets.find_preset("glow/digits")
    assert presets.find_preset("glow/digits/") == shipped
    (tmp_path / "glow" / "digits").mkdir(parents=True)  # of somebody's images, perhaps
    assert presets.find_preset("glow/digits") == shipped
    shutil.copytree(folder, "glow/digits", dirs_exist_ok=True)
    for name in ("glow/digits", "./glow/digits"):
        assert presets.find_preset(name).resolve() == tmp_path / "glow" / "digits"


def test_a_class_of_ones_own_is_named_when_it_is_not_registered(tmp_path):
    class Twist(Scale):
        pass

    flow = Flow(Twist(2.0))
    flow.build((None, 2))
    with pytest.raises(TypeError, match="Could not locate class 'Twist'"):
        flow.save_to_preset(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with keras.saving.CustomObjectScope({"Twist": Twist}):
        flow.save_to_preset(tmp_path / "mine")
    with pytest.raises(
        PresetError, match=r"holds the class 'Twist' of .*import the module that registers it"
    ):
        Flow.from_preset(tmp_path / "mine")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[" * 100_000, "got something else .*, expected the config of a flow"),
        ("[]", "got something else .*, expected the config of a flow"),
        (json.dumps({"padding": "x" * 2**23}), "at most 4194304 bytes"),
        (json.dumps({"parts": [{"class_name": "ActNorm", "config": {}}] * 20_000}), "at most 10000 parts"),
        (
            json.dumps({"class_name": "Repeat", "block": {"class_name": "ActNorm"}, "n": 10**9}),
            "at most 10000 parts",
        ),
    ],
)
def test_a_config_that_is_none_or_would_take_hours_is_refused_before_keras_reads_it(
    tmp_path, config, message
):
    path = tmp_path / "flow.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", "")
    with pytest.raises(PresetError, match=message):
        load_file(path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(PresetError, match=message):
        check_config(tmp_path / "config.json")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A zoo as in the wheel, without the weights of glow/digits, which are at `address` instead."""
    zoo_of_checkout = _shipped._zoo()
    ignore = shutil.ignore_patterns("model.weights.h5")
    shutil.copytree(zoo_of_checkout / "glow/digits", tmp_path / "zoo/glow/digits", ignore=ignore)
    monkeypatch.setattr(_shipped, "_zoo", lambda: tmp_path / "zoo")
    monkeypatch.setattr(_shipped, "address_of_weights", zoo_of_checkout.as_uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_weights_that_the_wheel_lacks_are_downloaded_once(installed, monkeypatch):
    flow = Flow.from_preset("glow/digits")
    kept = np.load(installed / "zoo/glow/digits/check.npz")
    np.testing.assert_allclose(flow.log_prob(kept["rows"]), kept["log_prob"], rtol=1e-5)
    monkeypatch.setattr(_shipped, "address_of_weights", lambda: "file:///nowhere")
    folder = presets.find_preset("glow/digits")
    assert zoo.load("glow/digits").count_params() == flow.count_params()
    assert folder.is_relative_to(installed / "cache")


def test_without_a_public_repository_the_error_names_the_clone(installed, monkeypatch):
    monkeypatch.setattr(
        _shipped, "address_of_weights", lambda: "https://github.com/OWNER/flowkit/raw/main/zoo"
    )
    with pytest.raises(ConnectionError, match=r"glow/digits: got no weights .* pip install -e CLONE"):
        presets.find_preset("glow/digits")


def test_other_weights_than_the_metadata_names_are_refused(installed, monkeypatch):
    wrong = installed / "wrong/glow/digits/model.weights.h5"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"others")
    monkeypatch.setattr(_shipped, "address_of_weights", (installed / "wrong").as_uri)
    with pytest.raises(ConnectionError, match=r"got a file with SHA-256 .*, expected .*Put the file at"):
        presets.find_preset("glow/digits")
    assert main(["info", "glow/digits"]) == 2
    assert not list((installed / "cache").rglob("*.h5*"))


def _kerased(path, folder, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name in ("config.json", "model.weights.h5"):
            file.write(folder / name, name)
    return path


@pytest.mark.parametrize("inside", [False, True], ids=["zip", "HDF5"])
def test_weights_that_take_far_more_than_their_file_are_refused_before_they_are_unpacked(
    copy, tmp_path, inside
):
    options = {"chunks": True, "compression": "gzip"} if inside else {}
    with h5py.File(copy / "model.weights.h5", "a") as file:
        file.create_dataset("more", data=np.zeros(2**25, "float32"), **options)
    path = _kerased(tmp_path / "flow.keras", copy, zipfile.ZIP_STORED if inside else zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with pytest.raises(PresetError, match=r"flow\.keras: got a file that unpacks to 134,\d{3},\d{3} bytes"):
        load_file(path)


@pytest.mark.every_engine
@pytest.mark.parametrize("words", ['"hidden": [8]', '"input_shape": [null, 2]'])
def test_a_config_of_more_weights_than_its_file_holds_makes_none(copy, words, tmp_path):
    text = (copy / "config.json").read_text()
    assert words in text
    more = words.replace("[8]", str([30_000] * 30)).replace("2]", "1000000000]")
    (copy / "config.json").write_text(text.replace(words, more))
    resum(copy, "config.json")
    add_weight = keras.Layer.add_weight
    with pytest.raises(PresetError, match="got a config of more weights than the file holds"):
        Flow.from_preset(copy)
    with pytest.raises(PresetError, match=r"flow\.keras: got a config of more weights than the file holds"):
        load_file(_kerased(tmp_path / "flow.keras", copy))
    assert keras.Layer.add_weight is add_weight


@pytest.mark.every_engine
def test_weights_of_nan_are_named_once(preset, tmp_path):
    trained, x, _ = preset
    flow = Flow.from_config(trained.get_config())
    flow.build((None, 2))
    flow.set_weights([w + np.nan if w.dtype.kind == "f" else w for w in trained.get_weights()])
    flow.save_to_preset(tmp_path / "nan")
    with pytest.warns(UserWarning, match="got NaN in the weights .*/.* and [0-9]+ more"):
        loaded = Flow.from_preset(tmp_path / "nan")
    with pytest.warns(UserWarning, match="got NaN in the weights"):
        flow.log_prob(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "got NaN")
        for one in (loaded, flow):
            one.log_prob(x)
