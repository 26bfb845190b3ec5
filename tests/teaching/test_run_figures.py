"""The figures of a run show what the log and the label maps hold, whatever the names, sizes and gaps."""

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from npseg.data import IGNORE_INDEX, VOID_COLOR, Shapes, paint
from npseg.teaching import run_figures


def log(steps, every=0, baselines=None):
    """The records of a run with a validation each `every` steps."""
    records = []
    for step in range(1, steps + 1):
        record = {"step": step, "loss": 2 / step, "learning_rate": 1e-3 * (1 - step / (steps + 1))}
        if every and step % every == 0:
            metrics = {
                key: step / steps * share for share, key in zip((0.9, 0.8, 0.7, 0.6), run_figures.METRICS, strict=True)
            }
            record["val"] = {**metrics, "class_iu": {"a": 0.5, "b": None}, "baselines": baselines}
        records.append(record)
    return records


def opens(path):
    """The picture at `path` is a whole PNG of a bearable size that shows something."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.array(picture.convert("L"))
    assert 300 < pixels.shape[1] < 3000
    assert pixels.std() > 1
    return pixels


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_curves_show_the_log():
    records = log(600, every=200, baselines={"majority": {"mean_iu": 0.1}, "position": {"mean_iu": 0.2}})
    loss, metrics, rate = run_figures._curves_figure(records).axes
    np.testing.assert_allclose(lines(loss)["each step"].get_ydata(), [2 / step for step in range(1, 601)])
    mean = lines(loss)["mean of the last 12 steps"].get_ydata()
    assert mean[0] == pytest.approx(2)
    assert mean[-1] == pytest.approx(np.mean([2 / step for step in range(589, 601)]))
    np.testing.assert_allclose(lines(rate).popitem()[1].get_ydata(), [record["learning_rate"] for record in records])
    for share, (name, _, _) in zip((0.9, 0.8, 0.7, 0.6), run_figures.METRICS.values(), strict=True):
        np.testing.assert_array_equal(lines(metrics)[name].get_xdata(), [200, 400, 600])
        np.testing.assert_allclose(lines(metrics)[name].get_ydata(), [share / 3, share * 2 / 3, share])
    for height, (name, _) in zip((0.1, 0.2), run_figures.BASELINES.values(), strict=True):
        assert set(lines(metrics)[name].get_ydata()) == {height}


@pytest.mark.parametrize("records", [log(1), log(1, every=1), log(2), log(30), log(500, every=100)], ids=len)
def test_curves_of_any_length_are_drawn(records, tmp_path):
    run_figures.curves(records, tmp_path / "curves.png")
    opens(tmp_path / "curves.png")


def test_what_is_not_defined_leaves_a_gap(tmp_path):
    records = log(30, every=10, baselines={"majority": {"mean_iu": None}, "position": None})
    records[19]["val"]["mean_iu"] = None
    records[4]["loss"] = math.nan
    records[5]["loss"] = math.inf
    loss, metrics, _ = run_figures._curves_figure(records).axes
    assert np.isnan(lines(metrics)["mean IU"].get_ydata()).tolist() == [False, True, False]
    assert not set(lines(metrics)) & {name for name, _ in run_figures.BASELINES.values()}
    assert np.isfinite(lines(loss)["mean of the last 10 steps"].get_ydata()[15:]).all()
    run_figures.curves(records, tmp_path / "curves.png")
    opens(tmp_path / "curves.png")


def test_the_metrics_lines_differ_in_colour_and_marker():
    _, metrics, _ = run_figures._curves_figure(log(10, every=1)).axes
    shown = [lines(metrics)[name] for name, _, _ in run_figures.METRICS.values()]
    assert len({line.get_color() for line in shown}) == len({line.get_marker() for line in shown}) == 4


def sample(classes, size=(12, 20), seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    return image, rng.integers(0, classes, size), rng.integers(0, classes, size)


def colors_for(classes):
    return np.random.default_rng(1).integers(0, 256, (classes, 3), np.uint8)


def test_predictions_show_image_truth_and_prediction_in_rows():
    samples = [sample(3, (12, 20)), sample(3, (20, 12), seed=1)]
    samples[1][1][0, 0] = IGNORE_INDEX
    figure = run_figures._predictions_figure(samples, "abc", colors_for(3), "void", VOID_COLOR)
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["image", "truth", "prediction", "", "", ""]
    for row, (image, labels, predicted) in enumerate(samples):
        np.testing.assert_array_equal(shown[3 * row], image)
        np.testing.assert_array_equal(shown[3 * row + 1], paint(labels, colors_for(3)))
        np.testing.assert_array_equal(shown[3 * row + 2], paint(predicted, colors_for(3)))
    assert tuple(shown[4][0, 0]) == VOID_COLOR


def legend_of(samples, classes):
    figure = run_figures._predictions_figure(samples, classes, colors_for(len(classes)), "unlabelled", (1, 2, 3))
    legend = figure.legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    faces = [np.rint(255 * np.array(patch.get_facecolor()[:3])).tolist() for patch in legend.get_patches()]
    return dict(zip(names, faces, strict=True))


def test_the_legend_names_each_colour_and_void_where_it_is_seen():
    clean, spotted = sample(3), sample(3)
    spotted[1][3, 3] = IGNORE_INDEX
    names = ["_background_", "a $strange$ name", "c"]
    expected = dict(zip(names, colors_for(3).tolist(), strict=True))
    assert legend_of([clean], names) == expected
    assert legend_of([clean, spotted], names) == {**expected, "unlabelled": [1, 2, 3]}


def test_names_are_written_literally_not_set_as_mathematics(tmp_path):
    run_figures.predictions([sample(2)], [r"$\frac$", "_"], colors_for(2), tmp_path / "predictions.png")
    opens(tmp_path / "predictions.png")


@pytest.mark.parametrize("classes", [2, 11, 21, 150])
@pytest.mark.parametrize("rows", [1, 5])
def test_legends_of_many_classes_fit(classes, rows):
    names = [f"class number {number}" for number in range(classes)]
    samples = [sample(classes, seed=seed) for seed in range(rows)]
    figure = run_figures._predictions_figure(samples, names, colors_for(classes), "void", VOID_COLOR)
    figure.draw_without_rendering()
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    assert legend.x0 >= page.x0
    assert legend.x1 <= page.x1
    assert legend.y0 >= page.y0
    pictures = [axes.get_window_extent() for axes in figure.axes]
    assert min(picture.y0 for picture in pictures) >= legend.y1
    assert min(picture.height for picture in pictures) > 30


def test_several_networks_stand_side_by_side(tmp_path):
    image, labels, _ = Shapes(1, image_size=(40, 60))[0]
    figure = run_figures._predictions_figure(
        [(image, labels, 0 * labels, labels)], Shapes.classes, Shapes.colors, "void", (0, 0, 0), ("early", "late")
    )
    early, late = figure.axes[2:4]
    assert [axes.get_title() for axes in figure.axes] == ["image", "truth", "early", "late"]
    assert (early.images[0].get_array() == Shapes.colors[0]).all()
    np.testing.assert_array_equal(late.images[0].get_array(), figure.axes[1].images[0].get_array())


def test_predictions_are_written(tmp_path):
    scenes = Shapes(2, image_size=(40, 60))
    samples = [(image, labels, labels.astype(np.int64)) for image, labels, _ in scenes]
    run_figures.predictions(samples, scenes.classes, scenes.colors, tmp_path / "predictions.png")
    opens(tmp_path / "predictions.png")


@pytest.mark.parametrize("size", [(1, 1), (300, 10), (10, 300)])
def test_images_of_odd_forms_are_drawn(size, tmp_path):
    run_figures.predictions([sample(2, size)], "ab", colors_for(2), tmp_path / "predictions.png")
    opens(tmp_path / "predictions.png")


def test_nothing_to_draw_is_refused_and_the_older_file_stays(tmp_path):
    path = tmp_path / "figure.png"
    run_figures.curves(log(3), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="records must hold at least one step"):
        run_figures.curves([], path)
    with pytest.raises(ValueError, match="samples must hold at least one image"):
        run_figures.predictions([], "ab", colors_for(2), path)
    with pytest.raises(ValueError, match="classes and colors must be equally many, got 3 and 2"):
        run_figures.predictions([sample(2)], "abc", colors_for(2), path)
    with pytest.raises(ValueError, match=r"labels must be class ids 0 \.\.\. 1"):
        run_figures.predictions([sample(3)], "ab", colors_for(2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_pyplot_is_never_imported(tmp_path):
    program = (
        "import sys; from npseg.teaching import run_figures as f; f.curves([dict(step=1, loss=1., learning_rate=1.)], "
        "sys.argv[1]); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "curves.png")], check=True)


def test_answers_name_the_class_and_what_it_was_taken_for(tmp_path):
    image = np.full((20, 30, 3), 90, np.uint8)
    samples = [(image, 0, 0), (image, np.array(1, np.uint8), np.int64(2))]
    classes = ("a", "_hidden", "$x")
    run_figures.answers(samples, classes, tmp_path / "answers.png")
    opens(tmp_path / "answers.png")
    right, wrong = run_figures._answers_figure(samples, classes).axes
    assert [(axes.get_title(), axes.get_xlabel()) for axes in (right, wrong)] == [
        ("a", "recognised"),
        ("_hidden", "taken for $x"),
    ]
    with pytest.raises(ValueError, match="samples"):
        run_figures.answers([], classes, tmp_path / "none.png")
