"""The im2col engine's ways of making fewer or longer copies compute what the definition does."""

from dataclasses import dataclass

import numpy as np
import pytest

import npseg
from npseg.engines import im2col, kernel_rows, loops, phases
from npseg.geometry import Axis, Window

BATCH = 2


@dataclass(frozen=True)
class Case:
    """A convolution: its window, the image's size, and channels."""

    window: Window
    size: tuple[int, int]
    channels: int = 2
    out_channels: int = 4
    groups: int = 1

    def arrays(self):
        """x, weight and gradient of whole numbers, so that sums are exact in any order."""
        rng = np.random.default_rng(0)
        shapes = (
            (BATCH, self.channels, *self.size),
            (self.out_channels, self.channels // self.groups, *self.window.kernel_size),
            (BATCH, self.out_channels, *self.window.output_size(self.size)),
        )
        return [rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes]


SHARED = {
    "3x3, padding 1": Case(Window(Axis(3, before=1, after=1), Axis(3, before=1, after=1)), (16, 12)),
    "groups": Case(Window(Axis(3, before=1, after=1), Axis(3)), (16, 7), channels=4, groups=2),
    "dilation": Case(Window(Axis(3, dilation=2, before=3), Axis(2, dilation=3, after=2)), (22, 9)),
    "strides along the rows": Case(Window(Axis(2, before=1), Axis(3, stride=2, before=1)), (13, 11)),
    "cropped": Case(Window(Axis(3, before=-1, after=-2), Axis(3, before=2, after=-1)), (18, 9)),
    "one column": Case(Window(Axis(3, before=1, after=1), Axis(1)), (17, 5), channels=3, out_channels=2),
    "many outputs": Case(Window(Axis(3, before=1, after=1), Axis(3, before=1, after=1)), (16, 12), 1, 8),
}
SORTED = {
    "16 by 8": Case(Window(Axis(16, 8, 4, 4), Axis(16, 8, 4, 4)), (24, 40)),
    "groups": Case(Window(Axis(8, 4, 2, 2), Axis(8, 4, 2, 2)), (16, 20), channels=4, groups=2),
    "other strides along rows and columns": Case(Window(Axis(8, 8), Axis(6, 2, 1, 1)), (25, 13)),
    "pixels unseen and cropped": Case(
        Window(Axis(8, 4, before=-1, after=-2), Axis(8, 4, before=3, after=-3)), (27, 31)
    ),
    "mostly padding": Case(Window(Axis(8, 4, 6, 7), Axis(8, 4, 7, 3)), (1, 2)),
}


def ids(cases):
    return [pytest.param(case, id=name) for name, case in cases.items()]


def assert_as_defined(case):
    """All three kernels, compared with the nested loops."""
    x, weight, grad = case.arrays()
    bias = np.arange(float(case.out_channels), dtype=np.float32)
    arguments = {
        "conv": (x, weight, case.window, case.groups, bias, True),
        "conv_grad_input": (grad, weight, case.size, case.window, case.groups),
        "conv_grad_weight": (x, grad, case.window, case.groups),
    }
    for kernel, given in arguments.items():
        np.testing.assert_array_equal(getattr(im2col, kernel)(*given), getattr(loops, kernel)(*given), kernel)


@pytest.fixture
def small_blocks():
    """Columns in blocks of some rows of one image each."""
    limit = npseg.get_column_limit()
    npseg.set_column_limit(6000)
    yield
    npseg.set_column_limit(limit)


@pytest.mark.parametrize("case", ids(SHARED))
def test_one_kernel_rows_columns_serve_all(case):
    x, _, _ = case.arrays()
    assert kernel_rows.pays(x, case.out_channels, case.window.output_size(case.size), case.window)
    assert_as_defined(case)


@pytest.mark.parametrize("case", ids(SHARED | SORTED))
def test_block_by_block_too(case, small_blocks):
    assert_as_defined(case)


@pytest.mark.parametrize("case", ids(SORTED))
def test_a_long_stride_is_sorted_away(case):
    assert phases.pays(case.window)
    assert_as_defined(case)


@pytest.mark.parametrize("case", ids(SORTED))
def test_sorting_an_image_loses_only_what_no_window_sees(case):
    x, weight, grad = case.arrays()
    window = case.window
    by_phase = phases.from_image(x, window)
    assert by_phase.shape[2:] == phases.size_of(window, grad.shape[2:])
    back = phases.to_image(by_phase, case.size, window)
    seen = loops.conv_grad_input(np.ones_like(grad[:, :1]), np.ones((1, 1, *window.kernel_size)), case.size, window, 1)
    np.testing.assert_array_equal(back, np.where(seen > 0, x, 0))
    np.testing.assert_array_equal(phases.to_weight(phases.from_weight(weight, window), window), weight)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (Window(Axis(4, 2, 1, 1), Axis(4, 2, 1, 1)), "a short stride"),
        (Window(Axis(8, 8), Axis(8, 8)), "windows that do not overlap"),
        (Window(Axis(7, 4), Axis(8, 4)), "no multiple"),
        (Window(Axis(8, 4, dilation=2), Axis(8, 4)), "dilation"),
    ],
)
def test_other_strides_are_not_sorted(window, reason):
    assert not phases.pays(window), reason


@pytest.mark.parametrize(
    ("window", "output_size", "out_channels", "reason"),
    [
        (Window(Axis(3, 2), Axis(3)), (64, 64), 2, "a vertical stride"),
        (Window(Axis(1), Axis(3)), (64, 64), 2, "one kernel row"),
        (Window(Axis(7), Axis(7)), (8, 8), 2, "few rows"),
        (Window(Axis(3), Axis(3)), (8, 1), 4000, "more weights than outputs"),
    ],
)
def test_kernel_rows_are_not_for_everything(window, output_size, out_channels, reason):
    x = np.empty((1, 64, *window.input_size(output_size)), np.float32)
    assert not kernel_rows.pays(x, out_channels, output_size, window), reason


def test_an_infinite_weight_meets_no_padding_on_the_way_back():
    case = SHARED["3x3, padding 1"]
    _, weight, grad = case.arrays()
    grad, weight = np.abs(grad) + 1, np.abs(weight)
    weight[0, 0, 0, 0] = np.inf  # pixels of the last row and column are seen by no window through this tap
    grad_x = im2col.conv_grad_input(grad, weight, case.size, case.window, 1)
    assert np.isinf(grad_x[:, 0, :-1, :-1]).all()
    assert np.isfinite(grad_x[:, 0, -1]).all()
    assert np.isfinite(grad_x[:, 0, :, -1]).all()
    assert np.isfinite(grad_x[:, 1]).all()
