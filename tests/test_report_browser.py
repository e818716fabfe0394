"""The report in a real Chromium: it draws, moves, hides, explains, and asks the network nothing.

Run by ``pytest -m browser``; needs chromium, chromedriver and the extra ``browser``. Screenshots
are left in the directory that SKINFO_SCREENSHOTS names.
"""

import base64
import html
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.flow.snapshots import collect_snapshots
from skinfo.view import write_report
from skinfo.view.words import bracket, with_error

pytestmark = pytest.mark.browser

# A name that would raise an alarm if it were taken for code.
LAYERS = ["first", "<b>second</b>", "</script><img src=x onerror='window.broken = 1'>"]
# What plotly would make a link of.
LINK = '<a href="https://example.org">link</a> <b>bold</b> <span style="color:red">red</span>'
EPOCHS = (0, 1, 10, 100, 1000)
LABELS = np.arange(32) % 2
# What a figure on the page draws now, by the title of its ordinate.
FIGURES = """
return [...document.querySelectorAll('.plot')].filter(plot => plot.layout).map(plot => ({
    title: plot.layout.yaxis.title.text, heading: plot.layout.title?.text,
    width: plot.querySelector('.main-svg').width.baseVal.value,
    shapes: plot.layout.shapes,
    data: plot.data.map(t => ({name: t.name, x: t.x, y: t.y, mode: t.mode, visible: t.visible})),
}))
"""


@pytest.fixture(scope="module")
def driver():
    """Chromium without a window, with a mouse, and with nothing to download."""
    from selenium import webdriver

    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in paths.items():
        assert path, f"{name} is not installed: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = paths["chromium"]
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1366,900",
        "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,"
        "availablePointerTypes=4",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        service = webdriver.ChromeService(executable_path=paths["chromedriver"])
        started = webdriver.Chrome(options=options, service=service)
    started.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    started.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    arrays = {
        (epoch, layer): rng.normal(size=(32, 4, 3)) / (k + 1)
        + 0.2 * k * np.log10(epoch + 1) * LABELS[:, None, None]
        for epoch in EPOCHS
        for k, layer in enumerate(LAYERS)
    }
    # No noise precedes the first layer.
    arrays |= {(epoch, LAYERS[0]): arrays[epoch, LAYERS[0]][:, 0] for epoch in EPOCHS}
    run = open_run(arrays, labels=LABELS, sigma=0.3, layers=LAYERS)
    estimators = {
        "noisy": NoisyMIEstimator(None, tol=0.1, random_state=0),
        "binned": BinningMIEstimator(bin_width=0.3),
        "clustered": ClusteringScore(measures=()),
    }
    made = information_flow(estimators, run, progress=False)
    names = ("train_loss", "test_loss", LINK)
    losses = {name: np.geomspace(0.7, 0.1, 5) for name in names}
    # Units and estimators are texts of a table, and so may hold anything.
    made.loc[made["quantity"] == "binned_entropy", "unit"] = LINK
    made["estimator"] = made["estimator"].replace("clustered", LINK)
    made.attrs["snapshots"] = replace(collect_snapshots(run), losses=losses)
    return made


@pytest.fixture(scope="module")
def file(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    snapshots = table.attrs.pop("snapshots")
    write_report(table, path, snapshots=snapshots, title="<i>A run</i>")
    return path


class Browser:
    """A page in the browser, and what a reader does to it."""

    def __init__(self, driver, path):
        self.driver = driver
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        driver.get(path.as_uri())
        self.settle()

    def settle(self):
        """Wait until what was asked for is drawn: two frames."""
        self.driver.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))"
        )

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def press(self, element, *keys):
        element.send_keys(*keys)
        self.settle()

    def click(self, element, *, twice=False):
        from selenium.webdriver import ActionChains

        at = ActionChains(self.driver).move_to_element(element)
        (at.double_click() if twice else at.click()).perform()
        self.settle()

    def figures(self):
        return self.driver.execute_script(FIGURES)

    def figure(self, title):
        return next(f for f in self.figures() if f["title"] == title)

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture
def browser(driver, file):
    driver.set_window_size(1366, 900)
    page = Browser(driver, file)
    yield page
    assert page.complaints() == []
    assert set(page.requests()) <= {file.as_uri()}


def value(table, layer, epoch, quantity="mutual_info"):
    chosen = (table["layer"] == layer) & (table["epoch"] == epoch)
    chosen &= (table["quantity"] == quantity) & (table["estimator"] == "noisy")
    return table[chosen].iloc[0]


def moving(figure, mode):
    return [trace for trace in figure["data"] if trace["mode"] == mode]


def test_the_page_loads_and_draws_without_a_request_or_a_complaint(browser, file):
    shown = [f["title"] for f in browser.figures()]
    assert shown[:5] == [
        "I(Y;T) [nats]", "I(X;T) [nats]", "I(Y;T) [nats]",
        f"H(Bin(T)) [{html.escape(LINK, quote=False)}]", "Clustering AUC ↑",
    ]  # fmt: skip
    assert len(shown) == 1 + 4 + 2 + 3
    assert all(svg.size["height"] > 100 for svg in browser.all("details[open] .main-svg"))
    assert browser.requests() == [file.as_uri()]
    # The tools of a figure are links without an address.
    made = browser.all(".plot a[href], .plot image, .plot script, .plot [style*=red]")
    assert not made
    assert LINK in [text.text for text in browser.all(".plot .legendtext")]
    assert browser.driver.execute_script("return window.broken") is None
    assert browser.one("h1").text == "<i>A run</i>"


def test_the_slider_moves_the_points_the_heading_and_the_marks(browser, table):
    from selenium.webdriver import Keys

    slider = browser.one("#epoch")
    browser.press(slider, Keys.HOME)
    seen = []
    for j, epoch in enumerate(EPOCHS):
        plane = browser.figures()[0]
        assert plane["heading"] == f"Epoch {epoch}"
        assert browser.one("#epoch-now").text == str(epoch)
        assert slider.get_attribute("aria-valuetext") == f"epoch {epoch}"
        for layer, point, trail in zip(
            LAYERS, moving(plane, "markers"), moving(plane, "lines+markers"), strict=True
        ):
            assert point["x"] == [value(table, layer, epoch)["value"]]
            assert point["y"] == [value(table, layer, epoch, "label_mutual_info")["value"]]
            assert trail["x"] == [value(table, layer, e)["value"] for e in EPOCHS[: j + 1]]
        mark = browser.figure("I(X;T) [nats]")["shapes"][0]
        assert mark["x0"] == mark["x1"] == pytest.approx(np.log10(1 + epoch))
        seen.append([p.get_attribute("transform") for p in browser.all(".wide .point")][-3:])
        browser.press(slider, Keys.ARROW_RIGHT)
    assert len({tuple(places) for places in seen}) == len(EPOCHS)


def test_playing_goes_through_the_epochs_and_ends_at_the_last(browser):
    from selenium.webdriver.support.ui import WebDriverWait

    def went():
        return browser.driver.execute_script("return window.went")

    browser.driver.execute_script(
        "window.went = [];"
        "new MutationObserver(() => went.push(document.getElementById('epoch-now').textContent))"
        ".observe(document.getElementById('epoch-now'), { childList: true })"
    )
    browser.click(browser.one("#play"))
    WebDriverWait(browser.driver, 10).until(lambda _: went()[-1:] == ["1000"])
    browser.settle()
    assert went() == [str(epoch) for epoch in EPOCHS]
    assert browser.one("#play").text == "▶"
    assert browser.figures()[0]["heading"] == "Epoch 1000"


def test_the_legend_hides_a_layer_everywhere_and_shows_it_again(browser):
    def hidden():
        return {t["name"] for f in browser.figures() for t in f["data"] if t["visible"] is False}

    chips, distances = browser.all(".chip"), browser.all("#distances figure")
    assert [chip.text[1:].strip() for chip in chips] == LAYERS
    points = len(browser.all(".wide .point"))
    browser.click(chips[0])
    kinds = ("", " bracket", " brackets", " before", " ceiling")
    assert hidden() == {f"first{kind}" for kind in kinds}
    assert chips[0].get_attribute("aria-pressed") == "false"
    assert [figure.is_displayed() for figure in distances] == [False, True, True]
    assert len(browser.all(".wide .point")) < points
    browser.click(chips[0])
    assert hidden() == set()
    assert len(browser.all(".wide .point")) == points
    browser.click(chips[1], twice=True)
    assert [chip.get_attribute("aria-pressed") for chip in chips] == ["false", "true", "false"]
    browser.click(chips[1], twice=True)
    assert [chip.get_attribute("aria-pressed") for chip in chips] == ["true"] * 3


def test_hover_says_value_error_and_bracket_and_shows_names_as_they_are(browser, table):
    from selenium.webdriver import ActionChains

    for k, layer in enumerate(LAYERS):
        point = browser.all(".wide .point")[-3 + k]
        ActionChains(browser.driver).move_to_element(point).perform()
        browser.driver.implicitly_wait(5)
        text = browser.one(".wide .hoverlayer .hovertext").text
        browser.driver.implicitly_wait(0)
        assert layer in text
        row = value(table, layer, 1000)
        assert with_error(row["value"], row["stderr"]) in text
        assert bracket(row["lower"], row["upper"]) in text
        label = value(table, layer, 1000, "label_mutual_info")
        assert with_error(label["value"], label["stderr"]) in text


def test_a_snapshot_of_the_distances_can_be_chosen(browser):
    def outlines():
        return [f["data"][0]["y"] for f in browser.figures() if f["title"] == "Density"]

    radios = browser.all("input[name=snapshot]")
    last = outlines()
    browser.click(radios[0])
    assert outlines() != last
    browser.click(radios[-1])
    assert outlines() == last


def test_what_is_folded_is_drawn_when_it_is_opened(browser):
    before = len(browser.figures())
    browser.click(browser.one("#curves summary"))
    browser.settle()
    opened = browser.figures()
    assert len(opened) > before
    assert all(figure["width"] > 200 for figure in opened)


def test_no_button_offers_to_upload_a_chart(browser):
    titles = {b.get_attribute("data-title") for b in browser.all(".modebar-btn")}
    assert {"Download plot", "Zoom"} <= titles
    assert not [t for t in titles if "share" in t.lower() or "cloud" in t.lower()]


@pytest.mark.parametrize("width", [600, 1024, 1920])
def test_the_page_fits_windows_of_any_width(browser, width):
    browser.driver.set_window_size(width, 900)
    browser.settle()
    browser.driver.refresh()
    browser.settle()
    wide, there = browser.driver.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= there


@pytest.fixture
def phone(driver, tmp_path_factory):
    """A run of twelve layers on the screen of a phone, under a finger."""
    layers = [f"encoder.layer.{k}" for k in range(12)]
    run = open_run(
        {(1, layer): np.random.default_rng(0).normal(size=(16, 3)) for layer in layers},
        labels={"token kind": np.arange(16) % 2},
    )
    estimators = {
        f"{name} at 0.5 rms": one
        for name, one in {
            "noisy": NoisyMIEstimator(0.5, tol=0.2, random_state=0),
            "binned": BinningMIEstimator(bin_width=0.3),
            "clustered": ClusteringScore(measures=()),
        }.items()
    }
    table = information_flow(estimators, run, progress=False)
    path = tmp_path_factory.mktemp("phone") / "report.html"
    write_report(table, path)
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    yield Browser(driver, path)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_phone_shows_the_page_whole(phone):
    wide, chips, seen = phone.driver.execute_script(
        "const chips = document.querySelector('.layers');"
        "return [document.documentElement.scrollWidth, chips.scrollHeight, chips.clientHeight]"
    )
    assert wide == 390
    assert chips == seen
    assert not phone.all(".modebar")
    # A finger that scrolls the page zooms nothing.
    drags = "return [...document.querySelectorAll('.plot')].map(plot => plot._fullLayout?.dragmode)"
    assert set(phone.driver.execute_script(drags)) == {False, None}
    phone.driver.execute_script("document.querySelector('#summary .scroll').scrollLeft = 200")
    name = phone.one("#summary tbody th")
    assert phone.driver.execute_script("return arguments[0].getBoundingClientRect().x", name) > 0


def test_the_page_prints_and_is_as_before(browser):
    printed = browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    assert not browser.all(".main-svg[viewBox]")


def test_a_screenshot_is_left(browser, tmp_path):
    """To be looked at by a person; here only that it is not blank."""
    folder = Path(os.environ.get("SKINFO_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    height = browser.driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": 1366, "height": height, "scale": 1}
    shot = browser.driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    picture = folder / "report.png"
    picture.write_bytes(base64.b64decode(shot["data"]))
    assert picture.stat().st_size > 50_000
