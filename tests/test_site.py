"""The docs site, built once: it needs no other host, its links lead somewhere, and its pages work in a browser."""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tests.browser import ABSENT, COMMAND, Browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SKIPPED = ("hooks/", "make/")  # scripts
SOURCES = sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))
REPORT = "live/report.html"
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
STYLES = {"stylesheet", "icon", "preconnect", "preload", "manifest", "dns-prefetch"}  # links that load; others name
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
SELECTOR = re.compile(r"[A-Za-z_][\w.-]*")  # scripts look ids up as `#id`, and stop at one that is no selector
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def page_of(source: str) -> str:
    """The address of a page, below that of the site: guide.md -> guide/."""
    name = source.removesuffix(".md")
    return name.removesuffix("index") if name.endswith("index") else f"{name}/"


class Built(NamedTuple):
    """The site and what building it said."""

    folder: Path
    code: int
    said: str


class Page(HTMLParser):
    """What the tests want to know of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.bare: list[str] = []  # tables that the theme does not style
        self._open: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: "list[tuple[str, str | None]]") -> None:
        """Note the element, then keep it as open."""
        of = {name: value or "" for name, value in attrs}
        self.ids += [of["id"]] if "id" in of else []
        self.headings += [of["id"]] if tag in HEADINGS and "id" in of else []
        self.links += [of["href"]] if tag == "a" and "href" in of else []
        self.loaded += [of[LOADED[tag]]] if LOADED.get(tag) in of else []
        self.loaded += [of.get("href", "")] if tag == "link" and STYLES & set(of.get("rel", "").split()) else []
        themed = any("md-typeset" in name.split() for _, name in self._open)
        if tag == "table" and (of.get("class") or not themed):
            self.bare.append(str(of))
        if tag not in VOID:
            self._open.append((tag, of.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        """Close the element, and with it those inside of it whose end may be left out."""
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    target = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # on the end of life of the theme: see pyproject.toml
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, env=env)
    return Built(target, done.returncode, done.stderr)


@pytest.fixture(scope="module")
def pages(built: Built) -> dict[str, Page]:
    """Address below the site -> page."""
    files = {str(file.relative_to(built.folder)): file for file in built.folder.rglob("*.html")}
    return {name.removesuffix("index.html"): Page(file.read_text(encoding="utf-8")) for name, file in files.items()}


def test_pages_are_built_without_a_warning(built: Built) -> None:
    assert built.code == 0, built.said
    assert "WARNING" not in built.said
    reference = (built.folder / "reference/method/index.html").read_text()
    assert "pretextbench.method.PretextMethod" in reference


def test_every_guide_is_a_page(pages: dict[str, Page]) -> None:
    assert {page_of(source) for source in SOURCES if not source.startswith(SKIPPED)} <= set(pages)
    assert REPORT in pages


def test_nothing_is_loaded_from_another_host(built: Built, pages: dict[str, Page]) -> None:
    elsewhere = [(name, url) for name, page in pages.items() for url in page.loaded if urlsplit(url).netloc]
    assert elsewhere == []
    for style in [*built.folder.rglob("*.css"), *built.folder.rglob("*.svg"), built.folder / REPORT]:
        text = style.read_text(encoding="utf-8")
        assert re.findall(r"""(?:url\(|@import|href=|src=)\s*["']?(?:https?:)?//[^)"']+""", text) == [], style


def test_the_theme_styles_every_table(pages: dict[str, Page]) -> None:
    assert {name: page.bare for name, page in pages.items() if page.bare and name != REPORT} == {}


def test_ids_of_headings_are_selectors(pages: dict[str, Page]) -> None:
    assert [(name, i) for name, page in pages.items() for i in page.headings if not SELECTOR.fullmatch(i)] == []


def test_links_lead_to_pages_and_places_on_them(built: Built, pages: dict[str, Page]) -> None:
    lost = []
    for name, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(f"http://site/{name}", link))
            if target.netloc != "site" or name == "404.html":  # which does not know where it will be shown
                continue
            path = unquote(target.path).lstrip("/").removesuffix("index.html")
            there = path in pages or (built.folder / path).is_file()
            if not there or (target.fragment and path in pages and unquote(target.fragment) not in pages[path].ids):
                lost.append((name, link))
    assert lost == []


def test_the_search_weighs_guides_above_the_api(built: Built) -> None:
    index = json.loads((built.folder / "search/search_index.json").read_text(encoding="utf-8"))
    weights = {entry["location"]: entry.get("boost", 1) for entry in index["docs"]}
    api = [weight for place, weight in weights.items() if place.startswith("reference/")]
    rare = ("reference/", "fidelity/", "results/")
    guides = [weight for place, weight in weights.items() if not place.startswith(rare)]
    assert api
    assert max(api) < min(guides)


@pytest.fixture(scope="module")
def address(built: Built) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=built.folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if COMMAND is None:
        pytest.skip(ABSENT)
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


def looked_at(browser: Browser, url: str, address: str) -> None:
    """Open a page, which complains of nothing and asks nobody else."""
    browser.open(url)
    browser.value("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")  # scripts have run
    assert browser.complaints() == []
    assert [sent for sent in browser.requests() if not sent.startswith((address, "data:", "blob:"))] == []


FACTS = """(() => {
  const all = query => [...document.querySelectorAll(query)];
  const colours = () => getComputedStyle(document.body).backgroundColor;
  const label = () => all('label[for^=__palette]').find(l => !l.hidden && l.offsetParent);
  const tables = all('article table');
  const before = colours();
  label().click();
  const after = colours();
  label().click();
  return {
    pages: all('.md-nav--primary a.md-nav__link').length,
    bare: tables.filter(t => !t.closest('.md-typeset__table, .doc-contents, .highlight')).length,
    blocks: all('article pre > code').length, copies: all('article .md-code__button, article .md-clipboard').length,
    changed: before !== after, back: before === colours(),
    wider: document.documentElement.scrollWidth > innerWidth,
  };
})()"""


@pytest.mark.parametrize("source", [source for source in SOURCES if not source.startswith(SKIPPED)])
def test_a_page_works_in_a_browser(source: str, browser: Browser, address: str) -> None:
    looked_at(browser, address + page_of(source), address)
    facts = browser.value(FACTS)
    assert facts["pages"] >= len(SOURCES)  # the list at the side
    assert facts["bare"] == 0
    assert facts["copies"] >= facts["blocks"] > 0 or facts["blocks"] == 0
    assert facts["changed"]  # to the other colours
    assert facts["back"]
    assert not facts["wider"]


def test_the_live_report_works_in_a_browser(browser: Browser, address: str) -> None:
    looked_at(browser, address + REPORT, address)


MARKED = """(async () => {
  document.getElementById('layers').scrollIntoView();
  await new Promise(done => setTimeout(() => requestAnimationFrame(done), 200));
  return [...document.querySelectorAll('.toc a:target-current')].map(link => link.hash);
})()"""


def test_the_contents_of_a_report_mark_the_section_in_view(browser: Browser, address: str) -> None:
    browser.open(address + REPORT)
    if not browser.value("CSS.supports('selector(:target-current)')"):
        pytest.skip("the browser is older than this selector")
    assert browser.value(MARKED) == ["#layers"]


SEARCH = """(async () => {
  const input = document.querySelector('.md-search__input');
  input.focus();
  input.value = 'linear probe';
  input.dispatchEvent(new Event('input', {bubbles: true}));
  input.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
  for (let tries = 0; tries < 600; tries++) {
    const found = [...document.querySelectorAll('a.md-search-result__link')].map(a => new URL(a.href).pathname);
    if (found.length) return found;
    await new Promise(done => setTimeout(done, 50));
  }
  return [];
})()"""


def test_the_search_answers_with_guides_first(browser: Browser, address: str) -> None:
    looked_at(browser, address, address)
    found = browser.value(SEARCH)
    assert found
    assert not [path for path in found[:3] if path.startswith("/reference/")]
    assert browser.complaints() == []
