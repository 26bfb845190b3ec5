"""Reading, writing and painting pictures."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from npseg.data import (
    IGNORE_INDEX,
    VOID_COLOR,
    classifier_view,
    overlay,
    paint,
    read_image,
    read_label_map,
    write_image,
    write_label_map,
)

COLORS = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10], [10, 10, 200]], np.uint8)

label_maps = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.int64, np.uint64]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 2, 3, IGNORE_INDEX]),
)


@given(image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_written_images_are_read_back(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "image.png"
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)


@given(labels=label_maps)
def test_written_label_maps_are_read_back_and_look_painted(labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.png"
    write_label_map(path, labels, COLORS)
    np.testing.assert_array_equal(read_label_map(path, len(COLORS)), labels)
    np.testing.assert_array_equal(read_image(path), paint(labels, COLORS))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), labels)


def test_void_has_its_own_color(tmp_path):
    void = np.full((1, 1), IGNORE_INDEX)
    assert tuple(paint(void, COLORS)[0, 0]) == VOID_COLOR
    write_label_map(tmp_path / "void.png", void, COLORS, void_color=(1, 2, 3))
    assert read_image(tmp_path / "void.png").tolist() == [[[1, 2, 3]]]


def test_a_failed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "labels.png"
    write_label_map(path, np.ones((2, 2), np.int64), COLORS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"ids 0 \.\.\. 3 or 255 \(void\), got 4 at row 1, column 0"):
        write_label_map(path, np.array([[0, 1], [4, 0]]), COLORS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_any_usual_mode_becomes_rgb(mode, tmp_path):
    suffix = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
    picture = Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode)
    picture.save(tmp_path / f"picture{suffix}")
    image = read_image(tmp_path / f"picture{suffix}")
    assert image.shape == (3, 4, 3)
    assert image.dtype == np.uint8
    assert image.min() >= 254


def test_transparent_parts_are_shown_on_white(tmp_path):
    pixels = np.array([[[9, 9, 9, 0], [9, 8, 7, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").tolist() == [[[255, 255, 255], [9, 8, 7]]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([9, 9, 9, 9, 8, 7])
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    assert read_image(tmp_path / "palette.png").tolist() == [[[255, 255, 255], [9, 8, 7]]]


def test_photographs_are_turned_upright(tmp_path):
    sideways = np.zeros((2, 3, 3), np.uint8)
    sideways[0, 0] = 255  # the upper left corner, which orientation 6 turns to the upper right
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(sideways).save(tmp_path / "photograph.png", exif=exif)
    upright = read_image(tmp_path / "photograph.png")
    assert upright.shape == (3, 2, 3)
    assert upright[..., 0].tolist() == [[0, 255], [0, 0], [0, 0]]


def test_an_animation_gives_its_first_picture(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "moving.png") == (255, 0, 0)).all()


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "deep.png"), (np.int32, "deep.tif"), (np.float32, "real.tif")])
def test_deep_images_are_refused(dtype, name, tmp_path):
    path = tmp_path / name
    Image.fromarray(np.arange(6, dtype=dtype).reshape(2, 3) * 100).save(path)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*8 bits a channel"):
        read_image(path)


def label_file_refused(path, message):
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*palette or 8-bit grey PNGs.*{message}"):
        read_label_map(path, 4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16", "1"])
def test_label_maps_of_other_kinds_are_refused(mode, tmp_path):
    path = tmp_path / "labels.png"
    Image.new(mode, (4, 4)).save(path)
    label_file_refused(path, f"mode '{mode}'")


def test_label_maps_in_lossy_formats_are_refused_whatever_their_name(tmp_path):
    path = tmp_path / "labels.png"
    Image.new("L", (4, 4)).save(path, format="JPEG")
    label_file_refused(path, "JPEG")


def test_shallow_grey_label_maps_are_refused_since_readers_stretch_them(tmp_path):
    """A 2-bit grey 3 is read as 255: it would count as void without a word."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)  # width, height, bits, grey, ...
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x1b")) + chunk(b"IEND", b"")
    )
    path = tmp_path / "labels.png"
    path.write_bytes(content)
    with Image.open(path) as picture:
        assert np.array(picture).tolist() == [[0, 85, 170, 255]]
    label_file_refused(path, "2-bit grey")


def test_shallow_palettes_keep_their_ids(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    picture.putpalette(COLORS.tobytes())
    picture.save(tmp_path / "labels.png", bits=2)
    assert read_label_map(tmp_path / "labels.png", 4).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("read", [read_image, lambda path: read_label_map(path, 4)])
def test_missing_files_and_folders_are_named(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read(tmp_path / "nowhere.png")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        read(tmp_path)


@given(
    labels=hnp.arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 3, IGNORE_INDEX])),
    image=hnp.arrays(np.uint8, (3, 4, 3)),
    opacity=st.floats(0, 1),
)
def test_overlays_lie_between_image_and_labels(labels, image, opacity):
    mixed = overlay(image, labels, COLORS, opacity)
    painted = paint(labels, COLORS)
    assert mixed.dtype == np.uint8
    assert (mixed >= np.minimum(image, painted)).all()
    assert (mixed <= np.maximum(image, painted)).all()
    void = labels == IGNORE_INDEX
    np.testing.assert_array_equal(mixed[void], image[void])
    np.testing.assert_array_equal(overlay(image, labels, COLORS, 0), image)
    np.testing.assert_array_equal(overlay(image, labels, COLORS, 1)[~void], painted[~void])


def test_half_an_overlay_is_the_mean():
    image = np.full((1, 2, 3), 100, np.uint8)
    assert overlay(image, np.array([[1, IGNORE_INDEX]]), COLORS).tolist() == [[[150, 55, 55], [100, 100, 100]]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), int), COLORS), ValueError, "height and width"),
        (lambda: overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), int), COLORS, 1.5), ValueError, "opacity"),
        (lambda: overlay(np.zeros((2, 2, 3)), np.zeros((2, 2), int), COLORS), TypeError, "image must be uint8"),
        (lambda: overlay(np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), int), COLORS), ValueError, r"\(H, W, 3\)"),
        (lambda: paint(np.zeros((2, 2)), COLORS), TypeError, "labels must be an integer array"),
        (lambda: paint(np.full((2, 2), -1), COLORS), ValueError, "got -1 at row 0, column 0"),
        (lambda: paint(np.zeros((2, 2, 1), int), COLORS), ValueError, "2 dimensions"),
        (lambda: paint(np.zeros((2, 2), int), COLORS.astype(float)), TypeError, "colors must be uint8"),
        (lambda: paint(np.zeros((2, 2), int), np.zeros((256, 3), np.uint8)), ValueError, "at most 255 classes"),
        (lambda: paint(np.zeros((2, 2), int), COLORS[:, :2]), ValueError, r"\(C, 3\)"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 3), (50, 50, 3)])
def test_a_classifier_sees_the_middle_of_a_photograph(shape):
    rows, columns = np.indices(shape[:2])
    image = np.stack([4 * rows, 4 * columns, 0 * rows], axis=2).astype(np.uint8)
    seen = classifier_view(image, (20, 20), share=0.5)
    side = 0.5 * min(shape[:2])
    places = (np.arange(20) + 0.5) * side / 20 - 0.5
    np.testing.assert_allclose(seen[:, 10, 0], 4 * (places + (shape[0] - side) / 2), atol=1)
    np.testing.assert_allclose(seen[10, :, 1], 4 * (places + (shape[1] - side) / 2), atol=1)


def test_a_classifiers_view_may_be_oblong_and_all_of_the_photograph():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(classifier_view(image, (30, 40), share=1), image)
    assert classifier_view(image, (10, 20)).shape == (10, 20, 3)
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="share must be"):
            classifier_view(image, (10, 20), share)
