"""Folders of images."""

import numpy as np
import pytest

from flowkit.data import load

pytestmark = pytest.mark.one_engine


def pixels(value, height=6, width=6, channels=3):
    return np.full((height, width, channels), value, np.uint8)


@pytest.fixture
def folder(tmp_path, rng, save_image):
    """60 colour images of noise, 6x6, without labels."""
    for i in range(60):
        save_image(tmp_path / f"{i:02}.png", rng.integers(0, 256, (6, 6, 3)))
    return tmp_path


def test_splits_are_disjoint_complete_and_repeat(folder):
    train, test = load(folder), load(folder, "test")
    assert len(train) + len(test) == 60
    assert 0 < len(test) < 20
    assert len({image.tobytes() for image in (*train.images, *test.images)}) == 60
    assert np.array_equal(load(folder, "test").images, test.images)
    assert train.images.dtype == np.uint8
    assert train.images.shape[1:] == (6, 6, 3)
    assert train.labels is None


def test_adding_a_file_moves_no_other_between_the_splits(folder, save_image):
    before = {image.tobytes() for image in load(folder, "test").images}
    new = save_image(folder / "new.png", pixels(0))
    after = {image.tobytes() for image in load(folder, "test").images}
    assert after - {pixels(0).tobytes()} == before
    new.unlink()


def test_sub_folders_are_labels_and_a_prefix_holds_several(tmp_path, save_image):
    for i in range(40):
        save_image(tmp_path / "cat" / f"{i}.png", pixels(10))
        save_image(tmp_path / "dog" / "deeper" / f"{i}.PNG", pixels(20))
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert (data.images[:, 0, 0, 0] == 10 + 10 * data.labels).all()
    assert len(set(data.labels[:20].tolist())) == 2


def test_an_image_outside_the_sub_folders_means_no_labels(tmp_path, save_image):
    for i in range(20):
        save_image(tmp_path / "cat" / f"{i}.png", pixels(10))
    save_image(tmp_path / "stray.png", pixels(20))
    assert load(tmp_path).labels is None


def test_train_and_test_folders_are_the_splits(tmp_path, save_image):
    for i in range(3):
        save_image(tmp_path / "train" / "b" / f"{i}.png", pixels(1))
        save_image(tmp_path / "test" / "a" / f"{i}.png", pixels(2))
        save_image(tmp_path / "test" / "b" / f"{i}.png", pixels(3))
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.classes == test.classes == ("a", "b")
    assert train.labels.tolist() == [1, 1, 1]
    assert sorted(test.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert (test.images[:, 0, 0, 0] == 2 + test.labels).all()


def test_train_can_be_a_class(tmp_path, save_image):
    for i in range(20):
        for name in ("train", "plane"):
            save_image(tmp_path / name / f"{i}.png", pixels(1))
    assert load(tmp_path).classes == ("plane", "train")


def test_files_that_are_no_images_are_left_alone(folder):
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "a.png").write_text("no image")
    assert len(load(folder)) + len(load(folder, "test")) == 60


def test_linked_folders_are_followed_once(tmp_path, save_image):
    for i in range(30):
        save_image(tmp_path / "elsewhere" / f"{i}.png", pixels(i))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "root", target_is_directory=True)
    root = tmp_path / "root"
    assert len(load(root)) + len(load(root, "test")) == 30
    assert load(root).classes == ("cat",)


def test_grey_files_give_one_channel_and_one_in_colour_gives_three(tmp_path, save_image):
    for i in range(30):
        save_image(tmp_path / f"{i}.png", pixels(i)[..., 0])
    assert load(tmp_path).images.shape[1:] == (6, 6, 1)
    assert load(tmp_path, channels=3).images.shape[1:] == (6, 6, 3)
    for i in range(30, 60):
        save_image(tmp_path / f"{i}.png", pixels(i))
    data = load(tmp_path)
    assert data.images.shape[1:] == (6, 6, 3)
    assert (data.images == data.images[:, :1, :1, :1]).all()


def test_colour_becomes_grey_as_in_pillow(folder):
    from PIL import Image

    colour, grey = load(folder), load(folder, channels=1)
    expected = np.asarray(Image.fromarray(colour.images[0]).convert("L"))
    assert np.array_equal(grey.images[0, ..., 0], expected)


@pytest.mark.parametrize("ending", ["png", "bmp", "webp", "jpg", "jpeg"])
def test_formats(tmp_path, save_image, ending):
    options = {"lossless": True} if ending == "webp" else {}
    for i in range(20):
        save_image(tmp_path / f"{i}.{ending}", pixels(200, 8, 8), **options)
    assert (load(tmp_path).images == 200).all()


def test_transparent_pixels_are_white(tmp_path, save_image):
    clear, solid = [0, 0, 0, 0], [10, 20, 30, 255]
    for i in range(20):
        save_image(tmp_path / f"{i}.png", [[clear, solid]])
    image = load(tmp_path).images[0]
    assert image.tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_palette_images_are_colour(tmp_path):
    from PIL import Image

    for i in range(20):
        Image.fromarray(pixels(0) + np.uint8([250, 0, 0])).quantize(4).save(tmp_path / f"{i}.png")
    assert load(tmp_path).images[0, 0, 0].tolist() == [250, 0, 0]


def test_size_crops_about_the_centre_and_averages_boxes(tmp_path, save_image):
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 2:6] = [[[10], [20], [30], [40]]] * 4
    image[:, :2] = image[:, 6:] = 255  # cut away
    for i in range(20):
        save_image(tmp_path / f"{i}.png", image)
    data = load(tmp_path, size=2)
    assert data.images[0, ..., 0].tolist() == [[15, 35], [15, 35]]
    assert load(tmp_path, size=(2, 4)).images.shape[1:] == (2, 4, 3)


# Exif 2.3, 4.6.4 A: what the first row and the first column of the stored pixels are when one looks at the image.
UPRIGHT = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_held_upright_as_the_camera_says(tmp_path, rng, orientation):
    from PIL import Image

    stored = rng.integers(0, 256, (4, 7, 3), dtype="uint8")  # no two of the eight ways look the same
    for i in range(20):
        image = Image.fromarray(stored)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{i}.png", exif=exif)  # without loss, so that each pixel can be compared
    upright = UPRIGHT[orientation](stored)
    images = load(tmp_path).images
    np.testing.assert_array_equal(images, np.broadcast_to(upright, (len(images), *upright.shape)))
