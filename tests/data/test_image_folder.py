"""Folders of pictures: what is right is read as it is, what is wrong gets an error that names the file."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from npseg.data import IGNORE_INDEX, ImageFolder, Shapes, open_dataset


def test_a_folder_is_read_as_it_is(folder):
    train, val = ImageFolder(folder), ImageFolder(folder, "val")
    assert train.classes == ("ground", "tree", "house")
    assert train.colors.tolist() == [[0, 0, 0], [0, 128, 0], [128, 0, 0]]
    assert train.colors.dtype == np.uint8
    assert (train.void_name, train.void_color, train.ignore_index) == ("nothing", (1, 2, 3), IGNORE_INDEX)
    assert [sample.name for sample in train] == ["one", "two.b"]
    assert [sample.name for sample in val] == ["three"]
    for dataset in (train, val):
        for image, labels, name in dataset:
            assert image.dtype == labels.dtype == np.uint8
            assert image.shape == (*labels.shape, 3)
            np.testing.assert_array_equal(labels, np.array(Image.open(folder / "labels" / f"{name}.png")))
    np.testing.assert_array_equal(train[0].image, np.array(Image.open(folder / "images" / "one.png")))


def test_classes_may_stand_in_any_order_and_void_may_be_left_out(folder):
    (folder / "classes.csv").write_text(
        'id, name, r,g,b\n2,"house, hut",1,1,1\n0,ground,0,0,0\n\n1,tree,0, 9 ,0\n', "utf-8-sig"
    )
    dataset = ImageFolder(folder)
    assert dataset.classes == ("ground", "tree", "house, hut")
    assert dataset.colors[1].tolist() == [0, 9, 0]
    assert dataset.void_name == "void"


def test_blank_lines_in_a_split_do_not_count(folder):
    (folder / "train.txt").write_text("\n one \r\n\n")
    assert [sample.name for sample in ImageFolder(folder)] == ["one"]


def test_palette_label_maps_are_read_by_id_not_by_color(folder):
    labels = np.array(Image.open(folder / "labels" / "one.png"))
    picture = Image.fromarray(labels)
    picture.putpalette(np.arange(255, -1, -1, np.uint8).repeat(3).tobytes())
    picture.save(folder / "labels" / "one.png")
    np.testing.assert_array_equal(ImageFolder(folder)[0].labels, labels)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "name,id\n",
        "id,name,r,g,b\n",
        "id,name,r,g,b\n0,only,0,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n2,b,0,0,0\n",
        "id,name,r,g,b\n1,a,0,0,0\n2,b,0,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n0,b,0,0,0\n1,c,0,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n1,a,0,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n1,b,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n1,,0,0,0\n",
        "id,name,r,g,b\n0,a,0,0,0\n1,b,0,0,256\n",
        "id,name,r,g,b\n0,a,0,0,0\n1,b,0,0,-1\n",
        "id,name,r,g,b\n0,a,0,0,0\none,b,0,0,0\n",
        f"id,name,r,g,b\n0,a,0,0,0\n{'1' * 5000},b,0,0,0\n",
        f"id,name,r,g,b\n0,{'a' * 200_000},0,0,0\n1,b,0,0,0\n",
    ],
)
def test_bad_class_files_are_refused(folder, content):
    (folder / "classes.csv").write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(folder / "classes.csv"))):
        ImageFolder(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at least one stem"),
        ("\n \n", "at least one stem"),
        ("one\ntwo.b\none\n", "'one' is there twice"),
        ("../one\n", "line 1: a stem must be a plain name"),
        ("one\n/etc/passwd\n", "line 2: a stem must be a plain name"),
        ("a\\b\n", "plain name"),
        ("..\n", "plain name"),
        ("one\0\n", "plain name"),
    ],
)
def test_bad_splits_are_refused(folder, content, message):
    (folder / "train.txt").write_text(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / 'train.txt'))}.*{message}"):
        ImageFolder(folder)


@pytest.mark.parametrize("split", ["../val", "", "/val", "a\\b", ".."])
def test_a_split_stays_within_its_folder(folder, split):
    with pytest.raises(ValueError, match="split must be a plain name"):
        ImageFolder(folder, split)


@pytest.mark.parametrize("name", ["classes.csv", "train.txt"])
def test_text_in_another_encoding_is_refused(folder, name):
    (folder / name).write_bytes("id,name,r,g,b\n0,Bäume,0,0,0\n".encode("latin-1"))
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / name))}.*UTF-8"):
        ImageFolder(folder)


@pytest.mark.parametrize("name", ["classes.csv", "train.txt", "images/one.png", "labels/one.png"])
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    wanted = folder / name.replace("images/one.png", "images/one.*")
    with pytest.raises(FileNotFoundError, match=re.escape(str(wanted))):
        ImageFolder(folder)


def test_missing_folders_are_named(folder):
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "nowhere"))):
        ImageFolder(folder / "nowhere")
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "images"))):
        ImageFolder(folder)


def test_two_images_of_one_stem_are_refused(folder):
    Image.new("RGB", (7, 5)).save(folder / "images" / "one.jpg")
    with pytest.raises(ValueError, match=r"one\.jpg.*one\.png.*needs to be one image, not 2"):
        ImageFolder(folder)


def refused(folder, message):
    """Sample 0 of the training split is refused with the file's name and this message."""
    with pytest.raises(ValueError, match=message) as caught:
        ImageFolder(folder)[0]
    return str(caught.value)


def test_mismatched_sizes_are_refused(folder):
    Image.new("L", (5, 7)).save(folder / "labels" / "one.png")
    message = refused(folder, r"5x7 \(height x width\), got 7x5")
    assert str(folder / "labels" / "one.png") in message
    assert str(folder / "images" / "one.png") in message


def test_unknown_labels_are_refused(folder):
    labels = np.zeros((5, 7), np.uint8)
    labels[2, 3] = 3
    Image.fromarray(labels).save(folder / "labels" / "one.png")
    message = refused(folder, r"class ids 0 \.\.\. 2 or 255 \(void\), got 3 at row 2, column 3")
    assert message.startswith(str(folder / "labels" / "one.png"))


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_broken_pictures_are_refused(folder, kind):
    path = folder / kind / "one.png"
    whole = path.read_bytes()
    broken = {
        "empty": b"",
        "another file": b"no picture at all, whatever it is called",
        "half": whole[: len(whole) // 2],
        "header alone": whole[:20],
        "wrong check sum": whole[:40] + bytes([whole[40] ^ 255]) + whole[41:],
    }
    for what, content in broken.items():
        path.write_bytes(content)
        message = refused(folder, "needs to be a whole picture")
        assert message.startswith(str(path)), what


def test_descriptions_rebuild_the_data_set_from_anywhere(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(folder.parent)
    described = json.loads(json.dumps(ImageFolder(folder.name, "val").describe()))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    rebuilt = open_dataset(described, "val")
    np.testing.assert_array_equal(rebuilt[0].image, ImageFolder(folder, "val")[0].image)

    scenes = Shapes(5, seed=7, split="val", image_size=(20, 33))
    rebuilt = open_dataset(json.loads(json.dumps(scenes.describe())), "val")
    assert len(rebuilt) == 5
    np.testing.assert_array_equal(rebuilt[4].image, scenes[4].image)
    assert not np.array_equal(open_dataset(scenes.describe(), "train")[4].image, scenes[4].image)


@pytest.mark.parametrize(
    "description", [{}, {"kind": "video"}, {"kind": "shapes"}, {"kind": "shapes", "count": 1, "x": 2}]
)
def test_bad_descriptions_are_refused(description):
    with pytest.raises((TypeError, ValueError), match=r"kind|count|x"):
        open_dataset(description, "train")


def test_real_photographs_are_read_whole(real_folder):
    counts = {}
    for split in ("train", "val"):
        dataset = ImageFolder(real_folder, split)
        counts[split] = len(dataset)
        seen = set()
        for image, labels, _ in dataset:
            assert image.shape == (*labels.shape, 3)
            seen |= set(np.unique(labels).tolist())
        assert seen == {*range(len(dataset.classes)), IGNORE_INDEX}
    assert counts == {"camvid": {"train": 60, "val": 20}, "nuclei": {"train": 50, "val": 20}}[real_folder.name]
