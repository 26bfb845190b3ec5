"""The explorer as people use it: pointing, playing, typing right and wrong, by keyboard, on small and dark screens."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from npseg import matrices, ops

pytestmark = pytest.mark.browser

OPERATIONS = [
    "conv2d",
    "depthwise_conv2d",
    "separable_conv2d",
    "conv_transpose2d",
    "deconvolve2d",
    "max_pool2d",
    "avg_pool2d",
    "max_unpool2d",
    "nearest_unpool2d",
    "bed_of_nails_unpool2d",
    "resize_bilinear",
]
DILATED = {"operation": "conv2d", "input_size": "5,6", "kernel_size": "3,2", "stride": "2,1", "padding": 1}


def keys():
    from selenium.webdriver import Keys

    return Keys


# Pointing


def test_an_output_lights_its_window_its_column_and_its_matrix_row(page):
    page.set(**DILATED)
    kernel = page.array("kernel weight")
    matrix = matrices.conv2d_matrix(kernel, (5, 6), stride=(2, 1), padding=1).toarray()
    page.hover(page.cell("output", 0, 2))
    window = {(0, 0, 1), (0, 0, 2), (0, 1, 1), (0, 1, 2)}
    assert page.lit("input") == window
    assert page.lit("kernel") == {(0, row, column) for row in (1, 2) for column in (0, 1)}
    assert page.lit("matrix") == {(0, 2, column) for column in np.flatnonzero(matrix[2])}
    assert page.lit("columns") == {(0, row, 2) for row in (2, 3, 4, 5)}
    assert page.lit("columns", "seen") == {(0, row, 2) for row in range(6)}  # with the padding
    assert page.lit("output", "focus") == {(0, 0, 2)}
    assert len(page.find_all(".ring.seen")) == 2


def test_an_input_lights_the_outputs_that_it_reaches(page):
    page.set(**DILATED)
    matrix = page.array("matrix")
    page.hover(page.cell("input", 1, 2))
    reached = {(0, *divmod(int(output), 7)) for output in np.flatnonzero(matrix[:, 1 * 6 + 2])}
    assert page.lit("output") == reached
    assert page.lit("matrix") == {(0, row * 7 + column, 8) for _, row, column in reached}
    page.hover(page.find('[data-role="matrix"] [data-strip="column"][data-index="8"]'))
    assert page.lit("output") == reached
    assert page.lit("input", "focus") == {(0, 1, 2)}


def test_a_weight_a_column_and_an_entry_light_what_they_touch(page):
    page.set(operation="conv2d", in_channels=2, out_channels=2)
    page.hover(page.find('[data-role="kernel"] [data-filter="1"][data-channel="0"][data-row="2"][data-col="0"]'))
    assert page.lit("input") == {(0, row, column) for row in (2, 3, 4) for column in (0, 1, 2)}
    assert page.lit("output") == {(1, row, column) for row in range(3) for column in range(3)}
    page.hover(page.find('[data-role="columns"] [data-strip="column"][data-index="5"]'))
    assert page.lit("input") == {(c, row, column) for c in (0, 1) for row in (1, 2, 3) for column in (2, 3, 4)}
    assert page.lit("output") == {(0, 1, 2), (1, 1, 2)}
    page.hover(page.cell("columns", 0, 4))
    assert page.lit("input") == {(0, 1, 1)}
    page.hover(page.cell("matrix", 9, 2))
    assert (page.lit("output"), page.lit("input")) == ({(1, 0, 0)}, {(0, 0, 2)})
    page.hover(page.find("h1"))
    assert page.lit("output", "focus") == {(1, 2, 2)}  # the present step again


def test_a_maximum_tells_its_winner_from_the_others(page):
    page.set(operation="max_pool2d", padding=1)
    x = page.array("input")
    _, indices = ops.max_pool2d(x[None], 2, stride=2, padding=1)
    page.hover(page.cell("output", 1, 1))
    assert page.lit("input", "seen") == {(0, row, column) for row in (1, 2) for column in (1, 2)}
    assert page.lit("input") == {(0, *divmod(int(indices[0, 0, 1, 1]), 6))}
    assert "padding never wins" in page.text("#step-formula")


# Steps


def test_steps_go_on_back_and_around(page):
    page.set(operation="conv2d")
    assert page.text("#time-label") == "9 of 9"
    for button, place in (("#forward", (0, 0)), ("#forward", (0, 1)), ("#back", (0, 0)), ("#back", (2, 2))):
        page.click(button)
        assert page.lit("output", "focus") == {(0, *place)}
    page.browser.execute_script(
        "const slider = arguments[0]; slider.value = 4; slider.dispatchEvent(new Event('input'));", page.find("#time")
    )
    assert page.text("#time-label") == "5 of 9"
    assert page.lit("output", "later") == {(0, 1, 2), (0, 2, 0), (0, 2, 1), (0, 2, 2)}
    page.cell("output", 0, 2).click()
    assert page.text("#time-label") == "3 of 9"


def test_it_plays_and_pauses(page):
    page.set(operation="conv2d")
    page.find("#speed").send_keys("fast")
    page.click("#play")
    assert page.text("#play").endswith("pause")
    assert page.text("#time-label") == "1 of 9"
    patience = time.monotonic() + 20
    while page.text("#time-label") in ("1 of 9", "2 of 9"):
        assert time.monotonic() < patience
        time.sleep(0.05)
    page.click("#play")
    stopped = page.text("#time-label")
    time.sleep(0.7)
    assert page.text("#time-label") == stopped
    assert page.text("#play").endswith("play")


def test_a_pinned_step_stays_marked(page):
    page.set(operation="conv2d", step=0)
    page.click("#pin")
    page.click("#forward")
    assert page.lit("input", "pinned") == {(0, row, column) for row in range(3) for column in range(3)}
    assert page.lit("input") == {(0, row, column) for row in range(3) for column in (1, 2, 3)}
    assert page.lit("output", "pinned-focus") == {(0, 0, 0)}
    page.click("#pin")
    assert page.lit("input", "pinned") == set()


@pytest.mark.parametrize(
    ("operation", "direction", "grid"),
    [("conv_transpose2d", "forward", "output"), ("conv2d", "backward", "gradient input")],
)
def test_a_scatter_adds_up_step_by_step(page, operation, direction, grid):
    page.set(operation=operation, direction=direction)
    page.click("#forward")
    read = page.read()
    matrix, whole = page.array("matrix", read), page.array(grid, read)
    sources = page.array("input" if direction == "forward" else "gradient output", read).ravel()
    matrix = matrix if direction == "forward" else matrix.T
    total = np.zeros(len(matrix))
    for step, value in enumerate(sources):
        total += matrix[:, step] * value
        shown = [float(cell[5]) for cell in page.read()["grids"][grid]]
        np.testing.assert_array_equal(shown, total)
        page.click("#forward")
    np.testing.assert_array_equal(total, whole.ravel())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_step_is_written_with_its_numbers(page, operation):
    """What stands behind the last "=" of a gathering step is the value of the cell."""
    for direction, grid in (("forward", "output"), ("backward", "gradient input")):
        page.set(operation=operation, direction=direction, walk="gather", step=1)
        values = page.array(grid).ravel()
        for step in (1, 2, 3):
            written = page.text("#step-formula").split("(and")[0].split("the first")[0]
            assert "NaN" not in written
            if ": no tap" in written:
                assert values[step] == 0
            else:
                number = float(written.split("=")[-1].replace("−", "-"))
                assert number == pytest.approx(values[step], abs=0.006)
            page.click("#forward")


# Typing


def test_typing_a_setting_recomputes_at_once(page):
    page.set(operation="conv2d")
    page.type("stride", "2")
    assert page.read()["facts"]["output"] == "1 × 2 × 2"
    page.type("padding", "((0, 1), (2, 0))")
    read = page.read()
    x, weight = page.array("input", read)[None], page.array("kernel weight", read)
    expected = ops.conv2d(x, weight, stride=2, padding=((0, 1), (2, 0)))
    np.testing.assert_array_equal(page.array("output", read), expected[0])
    page.click('[data-word="same"]')
    assert page.find('[name="padding"]').get_attribute("value") == "same"
    assert page.read()["facts"]["output"] == "1 × 3 × 3"
    page.find('#controls .control.pair input[type="range"]').send_keys(keys().ARROW_RIGHT)
    assert page.find('[name="kernel_size"]').get_attribute("value") == "4"
    assert page.text("#call") == 'npseg.ops.conv2d(x, weight, stride=2, padding="same")'


def test_typing_a_value_recomputes_at_once(page):
    page.set(operation="conv2d", direction="backward")
    before = page.read()
    for role, row, column, text in (("input", 1, 2, "-7.5"), ("kernel", 0, 1, "4"), ("gradient", 2, 0, "0.25")):
        page.cell(role, row, column).click()
        page.press(text)
    after = page.read()
    x, weight, grad = (page.array(name, after) for name in ("input", "kernel weight", "gradient output"))
    assert (x[0, 1, 2], weight[0, 0, 0, 1], grad[0, 2, 0]) == (-7.5, 4, 0.25)
    grad_x, grad_weight, _ = ops.conv2d_backward(grad[None], x[None], weight)
    np.testing.assert_allclose(page.array("gradient input", after), grad_x[0])
    np.testing.assert_allclose(page.array("gradient weight", after), grad_weight)
    assert before["grids"]["matrix"] != after["grids"]["matrix"]


def test_what_is_no_number_is_refused_and_forgotten(page):
    page.set(operation="conv2d")
    before = page.array("input")
    page.cell("input", 0, 1).click()
    page.press("abc")
    assert 'input[0, 0, 1] must be a number, got "abc"' in page.read()["error"]
    page.press(keys().ESCAPE)
    np.testing.assert_array_equal(page.array("input"), before)
    assert page.cell("input", 0, 1).text == f"{before[0, 0, 1]:g}"
    assert page.read()["error"] is None


@pytest.mark.parametrize(
    ("operation", "name", "text", "message"),
    [
        ("conv2d", "kernel_size", "6", "floor((5 + 0 + 0 - (1 * (6 - 1) + 1)) / 1) + 1 = 0, which must be at least 1"),
        ("conv2d", "stride", "0", "stride must be at least 1, got 0"),
        ("conv2d", "stride", "fast", 'stride needs one whole number, or two for rows and columns, got "fast"'),
        ("conv2d", "stride", "", "stride needs one whole number"),
        ("conv2d", "stride", "1.5", "stride needs one whole number"),
        ("conv2d", "stride", "1, 2, 3", "stride needs one whole number"),
        ("conv2d", "padding", "-1", "padding must be at least 0, got -1"),
        ("conv2d", "padding", "full", 'padding needs "valid", "same", a number'),
        ("conv2d", "groups", "2", "groups must divide in_channels"),
        ("conv2d", "input_size", "99", "input_size must be at most 10 to be drawn here"),
        ("conv2d", "in_channels", "x", "in_channels needs one whole number"),
        ("conv_transpose2d", "output_padding", "2", "output_padding must be below max(stride, dilation) = max(2, 1)"),
        ("conv_transpose2d", "padding", "5", "(3 - 1) * 2 + 1 * (3 - 1) + 1 - 5 - 5 = -3, which must be at least 1"),
        ("deconvolve2d", "regularization", "-1", "regularization must be at least 0, got -1"),
        ("max_pool2d", "padding", "3", "padding must leave every window a real pixel: window 0 covers -3, -2"),
        ("max_unpool2d", "output_size", "2, 2", "output_size must have a place for each value: 2 x 2 = 4 places"),
        ("nearest_unpool2d", "scale", "(0, 2)", "scale must be at least 1, got 0"),
    ],
)
def test_a_bad_setting_says_why_and_what_would_do(page, operation, name, text, message):
    page.set(operation=operation)
    page.type(name, text)
    error = page.read()["error"]
    assert message in error
    field = page.find(f'[name="{name}"]')
    assert field.get_attribute("aria-invalid") == "true"
    assert "outdated" in page.find("#picture").get_attribute("class")
    suggestions = page.find_all(".suggestion")
    assert 1 <= len(suggestions) <= 4
    for number in range(len(suggestions[:2])):
        suggestion = page.find_all(".suggestion")[number]
        changed, value = suggestion.text.split(" = ")
        suggestion.click()
        assert page.read()["error"] is None
        assert changed == name or number > 0
        control = page.find(f'[name="{changed}"]')
        if control.get_attribute("type") == "text":
            assert control.get_attribute("value").strip("()") == value.strip('"()')
        page.set(operation=operation)
        page.type(name, text)
    assert page.find(f'[name="{name}"]').get_attribute("value") == text


def test_a_page_that_opens_with_an_error_can_be_mended(page):
    page.open("operation=max_pool2d&stride=0&step=3")
    assert "stride must be at least 1" in page.read()["error"]
    page.press(keys().ARROW_RIGHT, keys().HOME, keys().END, " ", "p")
    for button in ("#play", "#back", "#forward", "#pin"):
        page.click(button)
    page.hover(page.find("#picture"))
    assert page.read()["grids"] == {}
    page.click(".suggestion")
    assert page.read()["error"] is None
    assert page.read()["facts"]["output"] == "1 × 5 × 5"


def test_an_index_that_is_taken_is_refused(page):
    page.set(operation="max_unpool2d")
    indices = page.array("indices")
    taken = int(indices[0, 0, 0])
    page.cell("indices", 0, 1).click()
    page.press(str(taken))
    assert f"indices must name each position once in a plane, got {taken} twice" in page.read()["error"]
    page.click(".suggestion")
    assert page.read()["error"] is None
    assert page.array("indices")[0, 0, 1] not in indices[0].ravel()[[0, 2, 3, 4, 5, 6, 7, 8]]
    page.set(operation="max_unpool2d", indices_values="0,0,0:36")
    assert "indices must lie in 0 ... 35, got 36" in page.read()["error"]


# The keyboard


def test_keys_move_the_steps(page):
    page.set(operation="conv2d")
    page.browser.execute_script("document.activeElement.blur()")
    for key, label in (
        (keys().HOME, "1 of 9"),
        (keys().ARROW_RIGHT, "2 of 9"),
        (keys().ARROW_RIGHT, "3 of 9"),
        (keys().ARROW_LEFT, "2 of 9"),
        (keys().END, "9 of 9"),
    ):
        page.press(key)
        assert page.text("#time-label") == label
    page.press("p")
    assert page.text("#pin") == "pinned: 9"
    page.press(" ")
    assert page.text("#play").endswith("pause")
    page.press(" ")
    assert page.text("#play").endswith("play")


def test_the_arrows_go_from_cell_to_cell(page):
    page.set(operation="conv2d")
    page.cell("input", 1, 1).click()
    page.press(keys().ARROW_DOWN, keys().ARROW_RIGHT, "42")
    assert page.array("input")[0, 2, 2] == 42
    assert page.lit("input", "focus") == {(0, 2, 2)}
    page.browser.execute_script("arguments[0].focus()", page.cell("output", 0, 0))
    page.press(keys().ARROW_DOWN)
    assert page.lit("input") == {(0, row, column) for row in (1, 2, 3) for column in (0, 1, 2)}
    page.press(keys().ENTER)
    assert page.text("#time-label") == "4 of 9"


def test_the_tab_key_reaches_everything_and_the_focus_is_seen(page):
    page.set(operation="conv2d")
    reached = []
    page.browser.execute_script("document.activeElement.blur()")
    for _ in range(60):
        page.press(keys().TAB)
        name, outline = page.browser.execute_script(
            "const e = document.activeElement; const seen = e.matches('.switch input') ? e.nextElementSibling : e;"
            "return [e.name || e.id || e.closest('[data-role]')?.dataset.role, getComputedStyle(seen).outlineStyle];"
        )
        reached.append(name)
        assert name is None or outline != "none", name
    expected = {"operation", "direction", "walk", "theme", "input_size", "kernel_size", "stride", "padding", "dilation"}
    assert expected | {"input", "kernel", "output", "play", "step", "pin", "speed"} <= set(reached)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_control_is_named_and_labelled(page, operation):
    page.set(operation=operation, direction="backward")
    unlabelled = page.browser.execute_script(
        "return [...document.querySelectorAll('input, select, button, [role=textbox], [role=button]')].filter((e) =>"
        " !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML);"
    )
    assert unlabelled == []
    assert [field.get_attribute("name") for field in page.find_all("#controls [name]")]


# The address


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_address_holds_everything(page, operation):
    from selenium.webdriver.support.ui import Select

    Select(page.find("#operation")).select_by_value(operation)
    page.type("input_size", "3, 4")
    page.click("#shuffle")
    page.click('input[name="direction"][value="backward"] + span')
    page.cell("input", 1, 2).click()
    page.press("2.5", keys().ENTER)
    page.click("#back")
    page.click("#pin")
    address, read, label = page.browser.current_url, page.read(), page.text("#time-label")
    page.open(address.split("#")[1])
    assert page.read() == read
    assert page.text("#time-label") == label
    assert page.text("#pin").startswith("pinned")
    assert page.browser.current_url == address


@pytest.mark.parametrize(
    "fragment",
    ["operation=paint", "operation=__proto__", "nonsense", "step=-3&seed=x&input_values=a:b;0,0,0:", "=&&=", "%"],
)
def test_an_address_that_means_nothing_opens_the_convolution(page, fragment):
    page.open(fragment)
    assert page.read()["facts"]["output"] == "1 × 3 × 3"
    assert page.read()["error"] is None


def test_every_example_opens(page):
    links = [link.get_attribute("href").split("#")[1] for link in page.find_all("#examples a")]
    assert len(links) == len(set(links)) > 8
    for number, fragment in enumerate(links):
        page.follow(page.find_all("#examples a")[number])
        read = page.read()
        assert read["error"] is None
        page.open(fragment)
        assert page.read() == read


def test_the_checkerboard_example_counts_the_overlap(page):
    (link,) = (link for link in page.find_all("#examples a") if "checkerboard" in link.text)
    page.follow(link)
    line = [1, 1, 2, 1, 2, 1, 1]
    np.testing.assert_array_equal(page.array("output")[0], np.outer(line, line))


# Screens


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)], ids=["projector", "phone"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_page_fits_the_screen(page, operation, size, tmp_path):
    """Nothing sticks out at the side. The pictures go to the folder that NPSEG_SCREENSHOTS names, to be looked at."""
    folder = Path(os.environ.get("NPSEG_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.resize(*size)
    for direction in ("forward", "backward"):
        page.open(f"operation={operation}&direction={direction}")
        for theme in ("light", "dark"):
            path = folder / f"{operation}-{direction}-{theme}-{size[0]}x{size[1]}.png"
            assert page.browser.save_screenshot(str(path))
            page.click("#theme")
        width = page.browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0]


def test_the_theme_follows_the_system_and_the_switch(page):
    for system, other in (("dark", "light"), ("light", "dark")):
        feature = {"name": "prefers-color-scheme", "value": system}
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        page.open()
        theme = "return document.documentElement.dataset.theme"
        assert page.browser.execute_script(theme) == system
        page.click("#theme")
        assert page.browser.execute_script(theme) == other
