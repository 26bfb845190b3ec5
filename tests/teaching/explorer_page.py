"""The explorer as a test sees it: its grids as arrays, its controls by name."""

from urllib.parse import urlencode

import numpy as np

READ = """
const [grids, shapes] = [{}, {}];
for (const grid of document.querySelectorAll("[data-role]:not([data-role=error])")) {
  const name = [grid.dataset.role, grid.dataset.of].filter(Boolean).join(" ");
  if (grid.dataset.rows) shapes[name] = [Number(grid.dataset.rows), Number(grid.dataset.columns)];
  grids[name] = [...grid.querySelectorAll(".cell[data-row]")].map((cell) => [
    Number(cell.dataset.filter ?? 0), Number(cell.dataset.channel ?? 0), Number(cell.dataset.row),
    Number(cell.dataset.col), Number(cell.dataset.value), cell.textContent,
  ]);
}
const facts = Object.fromEntries([...document.querySelectorAll("[data-fact]")].map(
  (fact) => [fact.dataset.fact, fact.querySelector("dd").textContent]));
const error = document.querySelector("[data-role=error]");
return { grids, shapes, facts, error: error.hidden ? null : error.textContent };
"""

LIGHTS = """
const [role, name] = arguments;
return [...document.querySelectorAll(`[data-role="${role}"] .cell.${name}[data-row]`)].map(
  (cell) => [Number(cell.dataset.channel ?? 0), Number(cell.dataset.row), Number(cell.dataset.col)]);
"""


class ExplorerPage:
    """The page in a browser."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    # Going somewhere

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, fragment=""):
        """Load the page anew."""
        self.browser.get("about:blank")
        self.browser.get(self.address + (f"#{fragment}" if fragment else ""))

    def set(self, **words):
        """Go to a setting by the address, as a link within the page would."""
        go = "const [hash, done] = arguments; if (location.hash === hash) { done(); return; }"
        go += "addEventListener('hashchange', () => done(), { once: true }); location.hash = hash;"
        self.browser.execute_async_script(go, "#" + urlencode(words))

    # Reading

    def read(self):
        """All numbers and words of the page."""
        return self.browser.execute_script(READ)

    def array(self, name, read=None):
        """The values of a grid: (rows, columns), (channels, rows, columns) or (filters, channels, rows, columns)."""
        read = read or self.read()
        cells = read["grids"][name]
        places = np.array([cell[:4] for cell in cells], dtype=int).reshape(-1, 4)
        if name in read["shapes"]:  # of a large matrix only the entries are drawn
            matrix = np.zeros(read["shapes"][name])
            matrix[places[:, 2], places[:, 3]] = [cell[4] for cell in cells]
            return matrix
        array = np.zeros(places.max(axis=0) + 1)
        array[tuple(places.T)] = [cell[4] for cell in cells]
        weights = name.split()[0] == "kernel" or (name.startswith("gradient") and name.endswith("weight"))
        return array if weights else array[0]

    def lit(self, role, name="lit"):
        """Which cells of a grid light up: a set of (channel, row, column)."""
        return {tuple(place) for place in self.browser.execute_script(LIGHTS, role, name)}

    def text(self, selector):
        return self.find(selector).text

    def complaints(self):
        """What the browser's console has to say."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    # Doing

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def find_all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def cell(self, role, row, column, channel=None):
        of_channel = "" if channel is None else f'[data-channel="{channel}"]'
        return self.find(f'[data-role="{role}"] .cell[data-row="{row}"][data-col="{column}"]{of_channel}')

    def click(self, selector):
        self.find(selector).click()

    def follow(self, link):
        """Click a link within the page; the page goes there only some time after the click."""
        arrival = "window.arrived = new Promise((done) => addEventListener('hashchange', done, { once: true }));"
        self.browser.execute_script(arrival)
        link.click()
        self.browser.execute_async_script("const [done] = arguments; window.arrived.then(() => done());")

    def type(self, name, text):
        """Replace what stands in a control's field."""
        field = self.find(f'#controls [name="{name}"]')
        field.clear()
        field.send_keys(text)

    def hover(self, element):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser, duration=0).move_to_element(element).perform()

    def press(self, *keys):
        """Keys for whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.browser, duration=0).send_keys(*keys).perform()
