"""The page in a browser: what it shows is the flow's, and what it cannot show it says in a sentence."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flowkit
from flowkit import data, zoo
from flowkit.app.play import serving
from flowkit.flow import export
from flowkit.play import write_page
from flowkit.play.folder import RUNTIME

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def flow(perturb):
    """A small Glow of the embedded images, off its start."""
    flow = zoo.glow(levels=2, steps=1, width=8, min_scale=0.5, input_shape=(28, 28, 1))
    flow.adapt(data.load("fashion-mnist").images[:256])
    return perturb(flow, scale=0.02)


@pytest.fixture(scope="module")
def folder(flow, tmp_path_factory):
    try:
        export.require("onnx")
    except ImportError as error:
        pytest.skip(str(error))
    train, test = (data.load("fashion-mnist", split) for split in ("train", "test"))
    try:
        return write_page(
            flow, tmp_path_factory.mktemp("play") / "page", train=train, test=test, name="small"
        )
    except ConnectionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served():
    """A function that serves a folder: its address."""
    servers = []

    def serve(folder):
        servers.append(serving(folder, 0))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield serve
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def opened(browser, served):
    """A function that opens the page of a folder and waits until it is ready.

    What goes wrong there, and what is asked of another host, are its `problems`.
    """

    def open_page(folder):
        address = served(folder)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("requestfailed", lambda request: page.problems.append(request.url))
        own = (address, f"blob:{address}")
        page.on(
            "request", lambda asked: None if asked.url.startswith(own) else page.problems.append(asked.url)
        )
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    return open_page


@pytest.fixture(scope="module")
def page(opened, folder):
    return opened(folder)


def drawn(page, change):
    """Run a line that changes the page, and wait until it is drawn."""
    before = page.evaluate("document.body.dataset.drawn")
    page.evaluate(change)
    page.wait_for_selector(f"body:not([data-drawn='{before}'])")


def moved(page, control, value):
    drawn(page, f"{{ const c = {control}; c.value = {value}; c.dispatchEvent(new Event('input')); }}")


def picture(page, side=28):
    return np.array(
        page.evaluate(
            "(() => { const c = document.querySelector('#picture');"
            " return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data); })()"
        )
    ).reshape(side, side, 4)[..., :1]


def test_the_page_is_ready_without_errors_or_other_hosts(page):
    assert page.problems == []
    assert page.inner_text("h1") == "Latent space of small"
    assert page.is_hidden("#message")
    # The flow computes beside the page, which would stand still for as long as it does.
    assert len(page.workers) == 1


def test_pixels_are_those_of_decode(page, flow):
    z = 0.7 * np.random.default_rng(0).normal(size=(8, 784)).astype("float32")
    received = page.evaluate(
        "z => flow.decode(new Float32Array(z), 8).then(x => Array.from(x))", z.ravel().tolist()
    )
    expected = flow.decode(z, check=None).astype(int)
    assert np.ptp(expected) > 50  # pictures, not one shade
    assert np.abs(np.reshape(received, expected.shape) - expected).max() <= 2


def test_log_p_is_that_of_the_flow(page, flow):
    images = data.load("fashion-mnist", "test").images[:4]
    for image in images:
        received = page.evaluate("x => flow.logProb(new Uint8Array(x))", image.ravel().tolist())
        np.testing.assert_allclose(received, flow.log_prob(image[None])[0], rtol=1e-4)


def shown_latents(page):
    return np.array(page.evaluate("latents(shown().mix).then(z => Array.from(z))"), "float32")


def test_each_level_and_each_direction_moves_latents_as_it_says(page, flow):
    """What is shown is what the flow decodes of them."""
    meta = page.evaluate("flow.meta")
    z, places = shown_latents(page), np.split(np.arange(784), np.cumsum(meta["level_sizes"])[:-1])
    np.testing.assert_allclose(
        z, flow.encode(np.reshape(page.evaluate("Array.from(images[0])"), (1, 28, 28, 1)))[0], atol=1e-4
    )

    def decoded(expected):
        np.testing.assert_allclose(shown_latents(page), expected, atol=1e-5)
        image = flow.decode(expected[None], check=None)[0].astype(int)
        assert np.abs(picture(page) - image).max() <= 2

    assert page.locator("#levels input").count() == len(places) == 2
    # A class each, and brightness.
    assert page.locator("#attributes input").count() == len(meta["attributes"]) == 11
    for row, level in enumerate(reversed(range(2))):  # the last level holds the shape, and stands first
        moved(page, f"document.querySelectorAll('#levels input')[{row}]", 0.4)
        colder = z.copy()
        colder[places[level]] *= np.float32(0.4)
        decoded(colder)
        drawn(page, "document.querySelector('#reset').click()")
        drawn(page, f"document.querySelectorAll('#levels button')[{row}].click()")
        changed = shown_latents(page) != z
        assert changed[places[level]].all()
        assert not changed[places[1 - level]].any()
        decoded(shown_latents(page))
        drawn(page, "document.querySelector('#reset').click()")
    for k in (0, 5, 10):
        moved(page, f"document.querySelectorAll('#attributes input')[{k}]", 0.4)
        decoded(z + np.float32(0.4) * np.array(page.evaluate(f"Array.from(flow.directions[{k}])"), "float32"))
        drawn(page, "document.querySelector('#reset').click()")
    assert (shown_latents(page) == z).all()


def test_the_place_among_test_images_is_counted(page, flow):
    test = data.load("fashion-mnist", "test").images[:1000]
    known = flow.log_prob(test)
    np.testing.assert_allclose(page.evaluate("flow.meta.log_prob"), np.sort(known), atol=0.01)
    places = set()
    for k in (0, 1, 2):
        drawn(page, f"document.querySelectorAll('#thumbs button')[{k}].click()")
        own = float(page.evaluate("document.body.dataset.logProb"))
        share = int(100 * (np.round(known, 2) < own).sum() / len(known) + 0.5)
        assert page.inner_text("#place") == f"More likely than {share} % of 1000 test images"
        assert f"{own:.1f} nats ({-own / 784 / np.log(2):.3f} bits/dim)" in page.inner_text("#density")
        places.add(share)
    assert len(places) > 1
    drawn(page, "document.querySelectorAll('#thumbs button')[0].click()")


def test_the_way_from_a_to_b_is_played_and_saved(page, tmp_path):
    a, b = (np.reshape(page.evaluate(f"Array.from(images[{i}])"), (28, 28)) for i in (0, 1))
    drawn(page, "document.querySelector('#reset').click()")
    page.click("#play")
    page.wait_for_function("() => Number(document.querySelector('#mix').value) > 0")
    assert page.inner_text("#play") == "Pause"
    drawn(page, "document.querySelector('#play').click()")
    assert page.inner_text("#play") == "Play"
    drawn(page, "document.querySelector('#reset').click()")
    saved = {}
    for button in ("png", "gif"):
        with page.expect_download() as download:
            page.click(f"#{button}")
        saved[button] = tmp_path / f"saved.{button}"
        download.value.save_as(saved[button])
    with Image.open(saved["png"]) as image:
        assert (np.asarray(image.convert("L"))[5::10, 5::10] == a).all()
    with Image.open(saved["gif"]) as image:
        assert image.n_frames == 48  # there and back
        for frame, end in ((0, a), (24, b)):
            image.seek(frame)
            assert (np.asarray(image.convert("L"))[5::10, 5::10] == end).all()


def test_a_drawing_becomes_an_image_of_ones_own(page):
    page.locator("#pad").scroll_into_view_if_needed()
    box, before = page.locator("#pad").bounding_box(), page.evaluate("document.body.dataset.drawn")
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_selector(f"body:not([data-drawn='{before}'])")
    own = picture(page)[..., 0]
    assert own.max() == 255
    assert (own[0] == 0).all()  # the ground is that of the images
    assert page.evaluate("Array.from(shown().own)") == own.ravel().tolist()
    drawn(page, "location.hash = '#a=0&b=1'")


def test_an_image_is_dropped_in_and_the_link_is_copied(page, tmp_path):
    own = np.random.default_rng(1).integers(0, 256, (28, 28), dtype="uint8")
    Image.fromarray(own).save(tmp_path / "own.png")
    before = page.evaluate("document.body.dataset.drawn")
    page.evaluate(
        "bytes => { const files = new DataTransfer();"
        " files.items.add(new File([new Uint8Array(bytes)], 'own.png', {type: 'image/png'}));"
        " const drop = {dataTransfer: files, bubbles: true, cancelable: true};"
        " document.body.dispatchEvent(new DragEvent('drop', drop)); }",
        list((tmp_path / "own.png").read_bytes()),
    )
    page.wait_for_selector(f"body:not([data-drawn='{before}'])")
    assert (picture(page)[..., 0] == own).all()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#share")
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#message") == "The link is copied."
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    drawn(page, "location.hash = '#a=0&b=1'")


def test_a_link_gives_the_same_picture(page, browser, tmp_path):
    own = np.random.default_rng(0).integers(0, 256, (28, 28), dtype="uint8")
    Image.fromarray(own).save(tmp_path / "own.png")
    before = page.evaluate("document.body.dataset.drawn")
    page.set_input_files("#own", tmp_path / "own.png")
    page.wait_for_selector(f"body:not([data-drawn='{before}'])")
    assert (picture(page)[..., 0] == own).all()
    moved(page, "document.querySelector('#mix')", 0.3)
    drawn(page, "document.querySelector('#levels button').click()")
    other = browser.new_page()
    other.set_default_timeout(120_000)
    other.goto(page.url)
    other.wait_for_selector("body[data-ready]")
    assert (picture(other) == picture(page)).all()
    assert other.evaluate("document.body.dataset.logProb") == page.evaluate("document.body.dataset.logProb")
    other.evaluate("location.hash = '#a=0&b=1&mix=no'")
    other.wait_for_selector("#message:not([hidden])")
    assert other.inner_text("#message").startswith("This link was made for another flow")
    other.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("notes.png", "notes.png is no image that this browser can read."),
        ("photo.jpg", "photo.jpg is 2400 wide and 2000 high."),
    ],
)
def test_a_file_that_does_not_fit_is_told(page, tmp_path, name, sentence):
    shown = picture(page)
    (tmp_path / name).write_text("no picture")
    if name == "photo.jpg":  # as from a camera
        noise = np.random.default_rng(0).integers(0, 256, (2000, 2400, 3), dtype="uint8")
        Image.fromarray(noise).save(tmp_path / name, quality=95)
        assert (tmp_path / name).stat().st_size > 5_000_000
    page.set_input_files("#own", tmp_path / name)
    page.wait_for_function("name => document.querySelector('#message').textContent.includes(name)", arg=name)
    assert page.is_visible("#message")
    assert page.inner_text("#message") == f"Expected an image, 28 pixels wide and 28 high; {sentence}"
    assert (picture(page) == shown).all()


def test_latents_that_overflow_are_told(page):
    told = page.evaluate("flow.decode(new Float32Array(784).fill(NaN)).catch(error => error.message)")
    assert told.startswith("These latents lie where the flow has seen no data")


def test_a_folder_that_is_damaged_says_so(browser, folder, served, tmp_path):
    damaged = Path(shutil.copytree(folder, tmp_path / "page"))
    meta = json.loads((damaged / "meta.json").read_text())
    (damaged / "meta.json").write_text(json.dumps(meta | {"sha256": {"decode": "0", "encode": "0"}}))
    address, page = served(damaged), browser.new_page()
    page.goto(address)
    page.wait_for_selector("#message:not([hidden])", timeout=120_000)
    assert page.inner_text("#message").startswith(
        "decode.onnx is not the file that meta.json was written for"
    )
    (damaged / "decode.onnx").unlink()
    page.reload()
    page.wait_for_selector("#message:not([hidden])", timeout=120_000)
    assert page.inner_text("#message").startswith("decode.onnx is missing from this folder")
    page.close()


@pytest.fixture(scope="module")
def conditional(perturb):
    """A small Glow of the digits given their class, off its start."""
    flow = zoo.glow(
        levels=2, steps=1, width=8, min_scale=0.5, num_classes=10, data_levels=17, input_shape=(8, 8, 1)
    )
    digits = data.load("digits")
    flow.adapt(digits.images[:256], digits.labels[:256])
    return perturb(flow, scale=0.1)


def test_the_graphs_take_and_answer_continuous_values_for_the_noise_of_the_page(conditional, tmp_path):
    try:
        export.require("onnx")
    except ImportError as error:
        pytest.skip(str(error))
    for name in RUNTIME:
        (tmp_path / name).write_text("runtime")
    train, test = (data.load("digits", split) for split in ("train", "test"))
    made = write_page(conditional, tmp_path / "page", train=train, test=test, ort=tmp_path)
    image, label = test.images[:1], test.labels[:1].astype("int32")
    noise = np.fromfile(made / "noise.bin", "<f4")
    y = ((image + noise.reshape(image.shape)) / 17 - 0.5).astype("float32")
    z, log_prob = export.read(made / "encode.onnx", "onnx")({"x": y, "context": label})
    np.testing.assert_allclose(log_prob, conditional.log_prob(image, label), rtol=1e-4)
    (back,) = export.read(made / "decode.onnx", "onnx")({"z": z, "context": label})
    np.testing.assert_allclose(back, y, atol=1e-5)


@pytest.fixture(scope="module")
def given(opened, conditional, folder, tmp_path_factory):
    """The page of the digits given their class; `folder` says whether there is a runtime to be had."""
    train, test = (data.load("digits", split) for split in ("train", "test"))
    return opened(write_page(conditional, tmp_path_factory.mktemp("given") / "page", train=train, test=test))


@pytest.mark.long
def test_a_class_is_chosen_and_the_flow_is_given_it(given, conditional):
    test = data.load("digits", "test")
    assert given.problems == []
    state = given.evaluate("shown()")
    z, label = (
        given.evaluate("latents(0).then(z => Array.from(z))"),
        given.evaluate("flow.meta.shown_labels[0]"),
    )
    shown = given.evaluate("Array.from(images[0])")
    assert state["label"] is None
    assert given.evaluate("flow.meta.classes") == [str(k) for k in range(10)]
    # Latents that were given their class hold none.
    assert given.evaluate("flow.meta.attributes") == ["brightness"]
    assert given.is_visible("#class")

    def answers(label):
        """What the page shows as the image and says of it, and what the flow gives."""
        image = conditional.decode(np.array([z], "float32"), np.array([label]))
        (log_prob,) = conditional.log_prob(image, np.array([label]))
        said = float(given.evaluate("document.body.dataset.logProb"))
        return picture(given, 8)[..., 0], np.round(image[0, ..., 0] * (255 / 16)), said, log_prob

    here, there, said, log_prob = answers(label)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(np.round(here.ravel() * (16 / 255)), shown)  # at its own class A comes back
    np.testing.assert_allclose(said, log_prob, rtol=1e-4)
    other = (label + 1) % 10
    drawn(given, f"{{ const c = document.querySelector('#class'); c.value = {other}; c.oninput(); }}")
    here, there, said, log_prob = answers(other)
    assert np.abs(here - there).max() <= 16  # one level of 17, where rounding decides
    assert (np.round(here.ravel() * (16 / 255)) != shown).any()
    np.testing.assert_allclose(said, log_prob, rtol=1e-4)
    assert f"log p(x | {other})" in given.inner_text("#density")
    assert f"class={other}" in given.url
    own = test.images[7]
    likeliest = given.evaluate("x => flow.likeliest(new Uint8Array(x))", own.ravel().tolist())
    each = [conditional.log_prob(own[None], np.array([k]))[0] for k in range(10)]
    assert likeliest == int(np.argmax(each))
    drawn(given, "document.querySelector('#reset').click()")
    drawn(
        given,
        "{ const c = document.querySelector('#mix'); c.value = 1; c.dispatchEvent(new Event('input')); }",
    )
    b = given.evaluate("Array.from(images[1])")
    assert np.round(picture(given, 8)[..., 0].ravel() * (16 / 255)).tolist() == b  # and B, at its own


@pytest.fixture(scope="module")
def continuous(perturb):
    """A small continuous flow of the digits, in steps of one length."""
    flow = zoo.flow_matching(input_shape=(8, 8, 1), data_levels=17, hidden=[8], solver="midpoint", steps=1)
    return perturb(flow.adapt(data.load("digits").images[:256]), scale=0.1)


@pytest.mark.long
def test_a_flow_whose_density_is_an_estimate_has_a_page_without_it(continuous, opened, folder, tmp_path):
    """`folder` skips where there is no runtime."""
    train, test = (data.load("digits", split) for split in ("train", "test"))
    page = opened(write_page(continuous, tmp_path / "page", train=train, test=test))
    assert page.problems == []
    assert page.inner_text("#message") == ""
    assert page.is_hidden("#density")
    shown, z = page.evaluate("Array.from(images[0])"), shown_latents(page)
    np.testing.assert_allclose(z, continuous.encode(np.reshape(shown, (1, 8, 8, 1))).ravel(), atol=1e-4)
    decoded = continuous.decode(z.reshape(1, 4, 4, 4), check=None)[0]
    assert np.ptp(decoded) > 4
    assert np.abs(picture(page, 8) - np.round(decoded * (255 / 16))).max() <= 16  # one level of 17


@pytest.fixture(scope="module")
def table():
    """A table of three columns."""
    rows = np.random.default_rng(0).normal(size=(300, 3)) * [1.0, 2.0, 5.0] + [0.0, 10.0, -3.0]
    return data.Table(rows, ("height", "age", "weight"), "people")


@pytest.fixture(scope="module")
def of_vectors(table, perturb):
    """A small flow matching of vectors, in steps of one length."""
    flow = zoo.flow_matching(features=3, hidden=[8], solver="midpoint", steps=2)
    return perturb(flow.adapt(table.values.astype("float32")), scale=0.1)


def test_the_page_of_a_flow_of_vectors_shows_its_draws(of_vectors, table, opened, folder, tmp_path):
    """`folder` skips where there is no runtime."""
    written = write_page(of_vectors, tmp_path / "page", train=table, test=table, name="people")
    page = opened(
        write_page(of_vectors, written, train=table, test=table, name="people")
    )  # once more, over it
    assert page.problems == []
    assert page.inner_text("#message") == ""
    assert page.inner_text("h1") == "Draws of people"

    def shown():
        """The latents, the draws and the number of the chosen one."""
        state = page.evaluate(
            "(() => { const s = shown(); return [Array.from(s.z), Array.from(s.draws), s.picked]; })()"
        )
        return np.reshape(state[0], (-1, 3)), np.reshape(state[1], (-1, 3)), state[2]

    z, draws, picked = shown()
    np.testing.assert_allclose(draws, of_vectors.decode(z.astype("float32")), rtol=1e-3, atol=1e-3)
    assert (len(draws), picked) == (1000, 0)
    moved(page, "document.querySelector('#scale')", 0.5)
    half, smaller, _ = shown()
    np.testing.assert_allclose(half, 0.5 * z, rtol=1e-6)
    assert (smaller.std(axis=0) < 0.7 * draws.std(axis=0)).all()
    moved(page, "document.querySelector('#up')", 2)
    before = page.evaluate("document.body.dataset.drawn")
    page.click("#plot", position={"x": 60, "y": 60})
    page.wait_for_selector(f"body:not([data-drawn='{before}'])")
    _, draws, picked = shown()
    assert picked > 0
    drawn(page, "document.querySelector('#next').click()")
    _, draws, after = shown()
    assert after == (picked + 1) % 1000
    row = draws[after].astype("float32")
    said = float(page.evaluate("document.body.dataset.logProb"))
    np.testing.assert_allclose(said, of_vectors.log_prob(row[None])[0], rtol=1e-3, atol=1e-3)
    values = [float(part.split(" = ")[1]) for part in page.inner_text("#values").split(", ")]
    np.testing.assert_allclose(values, row, rtol=1e-3)
    known = np.round(of_vectors.log_prob(table.values.astype("float32")), 2)
    share = int(100 * (known < said).sum() / len(known) + 0.5)
    assert page.inner_text("#place") == f"More likely than {share} % of 300 rows"
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.close()


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_replaces_no_other_files(flow, tmp_path):
    images = data.load("fashion-mnist", "test")
    for number, names in enumerate((["notes.txt"], ["meta.json", "notes.txt"], ["index.html", "style.css"])):
        place = tmp_path / str(number)
        place.mkdir()
        for name in names:
            (place / name).write_text("mine")
        with pytest.raises(ValueError, match="got other files"):
            write_page(flow, place, train=images, test=images)
        assert sorted(file.name for file in place.iterdir()) == names


def of_context():
    network = flowkit.conditioners.ConvNet(8, context="required")
    coupling = flowkit.bijectors.Coupling(network, split="checkerboard")
    return flowkit.Flow(coupling, dequantize=data.Dequantize(levels=17))


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (
            lambda: flowkit.Flow(flowkit.bijectors.Shift()),
            (None, 3, 2),
            "expected one of images of 1 or 3 channels with a flowkit",
        ),
        (zoo.realnvp, (None, 3), "test: got Dataset, expected a table of 3 columns"),
        (
            lambda: zoo.nsf(features=3, layers=1, hidden=[4], context=2),
            {"x": (None, 3), "context": (None, 2)},
            "got a flow of vectors that reads a context",
        ),
        (
            of_context,
            {"x": (None, 8, 8, 1), "context": (None, 3)},
            "reads a context, expected one that reads at most a class",
        ),
    ],
)
def test_flows_that_a_page_cannot_show(tmp_path, make, shape, message):
    flow, digits = make(), data.load("digits", "test")
    flow.build(shape)
    with pytest.raises(ValueError, match=message):
        write_page(flow, tmp_path / "page", train=digits, test=digits)
    assert not (tmp_path / "page").exists()
