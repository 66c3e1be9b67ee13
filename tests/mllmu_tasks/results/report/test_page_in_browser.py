"""The page as a browser sees it: nothing runs, nothing is fetched, everything is drawn."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import Elements, dom, screenshot
from reporting import IMAGE, NAME, PERSON, SCRIPT

pytestmark = pytest.mark.browser


@pytest.fixture
def proxy():
    """A proxy that answers nothing; (its flags for the browser, the addresses it was asked for)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_CONNECT = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (f"--proxy-server=127.0.0.1:{server.server_port}", "--proxy-bypass-list=<-loopback>"), asked
    server.shutdown()


def near(picture: np.ndarray, colour: str, tolerance: int = 24) -> int:
    """How many pixels have about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=-1) <= tolerance).sum())


def test_markup_in_names_people_and_answers_is_text(hostile):
    seen = Elements(dom(hostile / "index.html"))
    tags = {tag for tag, _ in seen.found}
    assert not tags & {"script", "iframe", "object", "b", "i", "link"}
    assert not [name for _, attributes in seen.found for name in attributes if name.startswith("on")]
    assert [value for tag, a in seen.found if tag == "img" for value in a.values()] == []
    for text in (SCRIPT, IMAGE, NAME, PERSON):
        assert text in seen.text
    assert "<title>Unlearning report</title>" in dom(hostile / "index.html")
    assert "\x1b" not in seen.text


def test_nothing_is_fetched(hostile, proxy, tmp_path):
    flags, asked = proxy
    control = tmp_path / "control.html"
    control.write_text(f"<title>Unlearning report</title>{IMAGE}")
    assert "owned" in dom(control, *flags)  # this is what an answer could do
    assert any("tracker.test" in address for address in asked)
    asked.clear()
    page = dom(hostile / "index.html", *flags)
    assert not [address for address in asked if "tracker" in address]
    links = [v for _, a in Elements(page).found for k, v in a.items() if k in ("src", "href", "xlink:href", "srcset")]
    assert links
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in links)


@pytest.mark.parametrize(("width", "height"), [(1280, 7000), (420, 11000)])
@pytest.mark.parametrize("dark", [False, True])
def test_figures_and_tables_are_drawn(hostile, width, height, dark):
    picture = screenshot(hostile / "index.html", width, height, dark=dark)
    assert picture.shape == (height, width, 3)
    paper, ink = ("#15181c", "#e4e7eb") if dark else ("#fefefe", "#20242a")
    low, high, other = ("#e8824a", "#58a8e4", "#eda63c") if dark else ("#c4500c", "#0b6fb0", "#e08a00")
    assert near(picture, paper, 4) > 0.5 * picture.shape[0] * width
    assert near(picture, ink) > 3000  # text
    assert min(near(picture, colour) for colour in (low, high, other)) > 150  # strips, links and dots
    margin = picture[:, -12:]  # nothing runs over the right edge
    assert near(margin, paper, 4) == margin.shape[0] * margin.shape[1]
    striped = (np.abs(picture.astype(int) - picture[:1, :1]).max(axis=-1) > 60).any(axis=1)
    assert striped.mean() > 0.25  # the page is filled, not one figure of height 0


def test_one_of_the_two_widths_is_shown(hostile):
    page = (hostile / "index.html").read_text()
    assert page.count('<div class="wide"><svg') == page.count('<div class="narrow"><svg') >= 4
    wide, narrow = (screenshot(hostile / "index.html", width, 2400) for width in (1280, 420))
    assert near(wide, "#0b6fb0") > 200
    assert near(narrow, "#0b6fb0") > 200
