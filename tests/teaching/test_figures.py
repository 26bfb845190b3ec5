"""What the figures show is what the traces hold: numbers, colours and dots are read back from what was drawn."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from PIL import Image

from npseg import matrices, ops
from npseg.data import IGNORE_INDEX, Shapes
from npseg.flags.teaching import EXPLAINED
from npseg.geometry import AffineMap, Axis
from npseg.matrices import conv2d_matrix
from npseg.teaching import figures, trace
from npseg.teaching.demonstration import demonstrate
from npseg.teaching.panels import panels
from npseg.teaching.traces.step import number as written

CASES = [
    *((operation, {}, False) for operation in EXPLAINED),
    *((operation, {}, True) for operation in EXPLAINED if operation != "deconvolve2d"),
    ("conv2d", {"padding": 1, "stride": 2, "channels": 4, "out_channels": 2, "groups": 2}, False),
    ("conv2d", {"dilation": (1, 2), "kernel_size": (3, 2), "input_size": (5, 4)}, False),
    ("conv_transpose2d", {"stride": 2, "padding": 1, "view": "zero_stuffed"}, False),
    ("conv_transpose2d", {"stride": 3, "kernel_size": 2, "view": "gather"}, False),
    ("avg_pool2d", {"input_size": (5, 3), "ceil_mode": True}, False),
]

SHEETS = {"conv2d", "separable_conv2d", "max_pool2d", "deconvolve2d", "cross_entropy2d"}
"""Sheets are many small steps, which the test of a step shows already: some kinds are enough."""


def named(case):
    return f"{case[0]}{'-backward' * case[2]}-{','.join(case[1])}"


def rendered(figure):
    """The figure's canvas after drawing; a warning would be an error."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def cells(axes, shape):
    """The texts of a grid of numbers by row and column, and the colours of its cells."""
    texts, colors = np.full(shape, "", object), np.zeros((*shape, 4))
    for text in axes.texts:
        column, row = text.get_position()
        texts[int(row), int(column)] = text.get_text()
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        colors[int(patch.get_y()), int(patch.get_x())] = patch.get_facecolor()
    return texts, colors


def assert_grid(axes, values, shown=None):
    shown = np.ones(values.shape, bool) if shown is None else shown
    texts, colors = cells(axes, values.shape)
    expected = [
        [written(v, 3) if s else "" for v, s in zip(*row, strict=True)] for row in zip(values, shown, strict=True)
    ]
    np.testing.assert_array_equal(texts, expected)
    return colors


def assert_legible(figure):
    """No text leaves the figure, and no number its cell."""
    canvas = rendered(figure)
    page = figure.bbox
    for artist in (*figure.axes, *figure.texts, *figure.legends):
        box = artist.get_tightbbox(canvas.get_renderer())
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        assert inside, f"{artist} reaches outside: {box} of {page}"
    for axes in figure.axes:
        grid = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_width() == 1]
        if grid:
            cell = grid[0].get_window_extent(canvas.get_renderer()).width
            for text in axes.texts:
                assert text.get_window_extent(canvas.get_renderer()).width <= cell, text.get_text()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_step_shows_its_panels(case):
    operation, chosen, backward = case
    shown = demonstrate(operation, backward=backward, **chosen)
    last = len(shown) - 1
    figure = figures.step(shown, last)
    assert_legible(figure)
    told = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert str(shown[last]) in told
    if operation == "cross_entropy2d":
        bars = [bar.get_height() for bar in figure.axes[0].patches]
        np.testing.assert_allclose(bars, shown[last].probabilities)
        np.testing.assert_allclose([bar.get_height() for bar in figure.axes[1].patches], shown[last].gradient)
        return
    stage, own = shown.find(last) if hasattr(shown, "find") else (shown, last)
    drawn = panels(stage, own)
    assert len(figure.axes) == len(drawn)
    for axes, panel in zip(figure.axes, drawn, strict=True):
        colors = assert_grid(axes, panel.values, panel.shown)
        white = (colors == 1).all(axis=2)
        grey = (colors[..., 0] == colors[..., 1]) & ~white
        np.testing.assert_array_equal(~white & ~grey, panel.marks)
        np.testing.assert_array_equal(grey, panel.outside & ~panel.marks)


@pytest.mark.parametrize("case", [case for case in CASES if case[0] in SHEETS], ids=named)
def test_a_contact_sheet_shows_every_step(case):
    operation, chosen, backward = case
    shown = demonstrate(operation, backward=backward, **chosen)
    figure = figures.contact_sheet(shown)
    assert_legible(figure)
    if operation == "cross_entropy2d":
        for axes, pixel in zip(figure.axes, shown, strict=True):
            np.testing.assert_allclose([bar.get_height() for bar in axes.patches], pixel.probabilities)
        return
    drawn = []
    for number in range(len(shown)):
        stage, own = shown.find(number) if hasattr(shown, "find") else (shown, number)
        drawn += [panel for panel in panels(stage, own) if panel.role != "weight"]
    for axes, panel in zip(figure.axes, drawn, strict=True):
        assert_grid(axes, panel.values, panel.shown)


def test_panels_show_the_padding_and_the_output_so_far():
    x, kernel = np.arange(1.0, 7.0).reshape(1, 1, 2, 3), np.ones((1, 1, 2, 2))
    source, weight, target = panels(trace("conv2d", x, kernel, padding=((1, 0), (0, 2))), 3)
    assert source.first == (-1, 0)
    np.testing.assert_array_equal(source.values, [[0] * 5, [1, 2, 3, 0, 0], [4, 5, 6, 0, 0]])
    np.testing.assert_array_equal(source.outside, ~source.shown)
    np.testing.assert_array_equal(source.marks, [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0] * 5])
    assert not weight.marks.any(), "a window on nothing but padding multiplies nothing"
    np.testing.assert_array_equal(target.shown, [[1, 1, 1, 1], [0, 0, 0, 0]])
    assert not any(panel.winner.any() for panel in (source, weight, target))
    assert (source.title, weight.title, target.title) == ("input", "kernel", "output")


def test_the_winner_of_a_maximum_stands_out():
    shown = trace("max_pool2d", np.array([[[[1.0, 5.0, 4.0, 5.0]]]]), (1, 3), stride=1)
    for number, winner in enumerate([1, 1]):
        colors = assert_grid(figures.step(shown, number).axes[0], shown.source[0, 0])[0]
        window = colors[number : number + 3]
        darker = [place for place in range(3) if (window[place] != window[0 if winner - number else 2]).any()]
        assert darker == [winner - number]


def test_a_notebook_shows_a_figure_by_itself_in_few_bytes():
    figure = figures.step(demonstrate("conv2d"), 1)
    small, full = figure._repr_png_(), figure.png()
    assert len(small) < len(full) / 2
    with Image.open(io.BytesIO(small)) as shown, Image.open(io.BytesIO(full)) as exact:
        assert shown.format == "PNG"
        difference = np.asarray(shown.convert("RGB"), int) - np.asarray(exact.convert("RGB"), int)
    assert (np.abs(difference) > 16).mean() < 0.001


def test_im2col_columns():
    x = np.arange(1.0, 41.0).reshape(1, 2, 4, 5)
    weight = np.arange(-12.0, 12.0).reshape(2, 2, 2, 3)
    arguments = {"stride": (2, 1), "padding": ((1, 0), (0, 1))}
    figure = figures.im2col_columns(trace("conv2d", x, weight, **arguments))
    assert_legible(figure)
    kernels, columns, output, *windows = figure.axes
    assert_grid(kernels, weight.reshape(2, 12))
    colors = assert_grid(columns, ops.im2col(x, (2, 3), **arguments)[0])
    output_colors = assert_grid(output, ops.conv2d(x, weight, **arguments).reshape(2, -1))
    assert len(windows) == columns.get_xticks().size == 8
    assert len({tuple(color) for color in colors[0]}) == 8, "each window has a colour of its own"
    np.testing.assert_array_equal(output_colors[0], colors[0])
    for number, small in enumerate(windows):
        picture = small.images[0].get_array()
        filled = [tuple(map(int, place)) for place in np.argwhere(~(picture == 0.93).all(axis=2))]
        step = trace("conv2d", x, weight, **arguments)[number]
        assert set(filled) == set(step.window.real)
        assert all(np.allclose(picture[place], colors[0, number, :3]) for place in filled)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: demonstrate("avg_pool2d"), "gathered convolution of one image, got avg_pool2d"),
        (lambda: demonstrate("depthwise_conv2d"), "in one group"),
        (lambda: demonstrate("conv2d", input_size=(8, 8)), "at most 20 windows"),
    ],
)
def test_im2col_columns_of_what_has_none(refused, message):
    with pytest.raises(ValueError, match=message):
        figures.im2col_columns(refused())


def test_a_matrix_and_its_transpose():
    shown = demonstrate("conv2d", input_size=(4, 5), padding=(0, 1), stride=(1, 2))
    figure = figures.matrix_and_transpose(shown)
    assert_legible(figure)
    matrix = conv2d_matrix(shown.weight, (4, 5), padding=(0, 1), stride=(1, 2))
    present = np.zeros(matrix.shape, bool)
    present[matrix.rows, matrix.indices] = True
    left, right = figure.axes
    colors = assert_grid(left, matrix.toarray(), present)
    turned = assert_grid(right, matrix.toarray().T, present.T)
    np.testing.assert_array_equal(turned, colors.transpose(1, 0, 2))
    # One colour for each of the nine weights, wherever it stands.
    by_color = {}
    for color, value in zip(map(tuple, colors[present]), matrix.toarray()[present], strict=True):
        by_color.setdefault(color, set()).add(value)
    assert len(by_color) == 9
    assert all(len(values) == 1 for values in by_color.values())


def test_large_matrices_are_drawn_as_a_pattern_and_huge_ones_refused():
    figure = figures.matrix_and_transpose(matrices.nearest_unpool2d_matrix(1, (8, 8), 2), name="nearest unpooling")
    assert_legible(figure)
    picture = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal((picture < 1).any(axis=2), matrices.nearest_unpool2d_matrix(1, (8, 8), 2).toarray())
    with pytest.raises(ValueError, match=r"at most 2000 rows and columns to be drawn, got shape \(4096, 1024\)"):
        figures.matrix_and_transpose(matrices.nearest_unpool2d_matrix(1, (32, 32), 2))


def test_receptive_fields_grow_as_geometry_says():
    layers = [(3, 1, 1), (2, 2, 1), (3, 1, 2)]
    figure = figures.receptive_field_growth(layers, against=[(5, 1, 1)])
    assert_legible(figure)
    stacked, single = figure.axes
    dots = [collection.get_offsets() for collection in stacked.collections]
    assert [len(row) for row in dots] == [12, 6, 3, 1]
    assert stacked.get_title() == "12 pixels wide, 12 of them seen"
    assert single.get_title() == "5 pixels wide, 5 of them seen"
    # Every map's dots lie where its pixels are centred on the image.
    centre = AffineMap()
    outputs = [sorted(row[:, 0]) for row in dots]
    for (kernel, stride, dilation), places in zip(layers, outputs[1:], strict=True):
        centre = centre.through(Axis(kernel, stride, dilation=dilation))
        steps = np.diff(places) / float(centre.scale)
        np.testing.assert_allclose(steps, np.round(steps))
        assert np.mean(places) == pytest.approx(0)
    with pytest.raises(ValueError, match="must hold 1"):
        figures.receptive_field_growth([])


def test_gridding_shows_what_is_never_seen():
    figure = figures.dilation_gridding([(1, 1), (2, 2)])
    assert_legible(figure)
    dense, sparse = figure.axes[2], figure.axes[5]
    assert dense.get_title() == "together: 5 x 5 pixels,\n0% never seen"
    assert sparse.get_title() == f"together: 9 x 9 pixels,\n{1 - 25 / 81:.0%} never seen"
    # The paths are a convolution of the output's one pixel by kernels of ones, backwards.
    one = np.zeros((1, 1, 9, 9))
    one[0, 0, 4, 4] = 1
    ones = np.ones((1, 1, 3, 3))
    twice = ops.conv2d(ops.conv2d(one, ones, padding=2, dilation=2), ones, padding=2, dilation=2)[0, 0]
    np.testing.assert_array_equal(np.nan_to_num(sparse.images[0].get_array().filled(0)), twice)
    texts = {(round(y), round(x)): t.get_text() for t in sparse.texts for x, y in [t.get_position()]}
    assert texts == {(y, x): f"{twice[y, x]:.0f}" for y, x in np.argwhere(twice)}


def test_checkerboards_count_the_stamps():
    pairs = [(3, 2), (4, 2), (2, 3)]
    figure = figures.checkerboard(pairs, size=3)
    assert_legible(figure)
    for axes, (kernel, stride) in zip(figure.axes, pairs, strict=True):
        ones = np.ones((1, 1, kernel, kernel))
        counts = ops.conv_transpose2d(np.ones((1, 1, 3, 3)), ones, stride=stride)[0, 0]
        np.testing.assert_array_equal(np.nan_to_num(np.ma.filled(axes.images[0].get_array(), 0)), counts)
        assert axes.get_title().startswith(f"kernel {kernel}, stride {stride}:")
    assert [axes.get_title().split("\n")[1] for axes in figure.axes] == ["a checkerboard", "even inside", "gaps"]


def test_five_upsamplings_beside_their_matrices():
    pooled_from = np.array([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0], [0.0, 5.0, 3.0, 0.0], [4.0, 1.0, 0.0, 0.0]])
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    figure = figures.five_upsamplings(pooled_from, kernel)
    assert_legible(figure)
    x, indices = ops.max_pool2d(pooled_from[None, None], 2)
    assert_grid(figure.axes[0], x[0, 0])
    results = [
        ops.nearest_unpool2d(x, 2),
        ops.bed_of_nails_unpool2d(x, 2),
        ops.max_unpool2d(x, indices, (4, 4)),
        ops.resize_bilinear(x, (4, 4)),
        ops.conv_transpose2d(x, kernel[None, None], stride=2, padding="same"),
    ]
    maps = [
        matrices.nearest_unpool2d_matrix(1, (2, 2), 2),
        matrices.bed_of_nails_unpool2d_matrix(1, (2, 2), 2),
        matrices.max_pool2d_matrix(indices[0], (4, 4)).T,
        matrices.resize_bilinear_matrix(1, (2, 2), (4, 4)),
        matrices.conv_transpose2d_matrix(kernel[None, None], (2, 2), stride=2, padding="same"),
    ]
    for number, (result, matrix) in enumerate(zip(results, maps, strict=True)):
        assert_grid(figure.axes[1 + 2 * number], result[0, 0])
        present = np.zeros(matrix.shape, bool)
        present[matrix.rows, matrix.indices] = True
        assert_grid(figure.axes[2 + 2 * number], matrix.toarray(), present)
    with pytest.raises(ValueError, match="at most 8 pixels a side"):
        figures.five_upsamplings(np.ones((10, 4)))


def test_predictions_stand_beside_the_image():
    shapes = Shapes(1, split="val", image_size=(48, 64))
    image, labels, _ = shapes[0]
    void = labels.copy()
    void[:3] = IGNORE_INDEX
    networks = {"FCN-32s": np.zeros_like(labels), "FCN-16s": lambda image: labels[:, ::-1], "FCN-8s": labels}
    figure = figures.fcn_predictions(image, networks, shapes.classes, shapes.colors, labels=void)
    assert_legible(figure)
    assert [axes.get_title() for axes in figure.axes] == ["image", "labels", "FCN-32s", "FCN-16s", "FCN-8s"]
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(shown[0], image)
    np.testing.assert_array_equal(shown[3], shapes.colors[labels[:, ::-1]])
    np.testing.assert_array_equal(shown[4], shapes.colors[labels])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*shapes.classes, "void"]
    with pytest.raises(ValueError, match=r"FCN-8s must have the image's size \(48, 64\), got shape \(48, 63\)"):
        figures.fcn_predictions(image, {"FCN-8s": labels[:, 1:]}, shapes.classes, shapes.colors)
    with pytest.raises(ValueError, match="at least one"):
        figures.fcn_predictions(image, {}, shapes.classes, shapes.colors)
    with pytest.raises(ValueError, match="equally many"):
        figures.fcn_predictions(image, networks, shapes.classes[1:], shapes.colors)


def test_files_are_whole_or_absent(tmp_path):
    shown = demonstrate("conv2d")
    figures.write(shown, tmp_path / "step.png", step=0)
    before = (tmp_path / "step.png").read_bytes()
    with Image.open(io.BytesIO(before)) as picture:
        picture.load()
        assert picture.width > 600
    with pytest.raises(IndexError, match=r"step must lie in 0 \.\.\. 3, got 4"):
        figures.write(shown, tmp_path / "step.png", step=4)
    assert (tmp_path / "step.png").read_bytes() == before
    with pytest.raises(FileNotFoundError):
        figures.write_gif(shown, tmp_path / "missing" / "steps.gif")
    figures.write_gif(shown, tmp_path / "steps.gif", seconds=0.5)
    with Image.open(tmp_path / "steps.gif") as picture:
        durations = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            durations.append(picture.info["duration"])
    assert durations == [500, 500, 500, 1000]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step.png", "steps.gif"]
