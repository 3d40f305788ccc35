"""The report as a file that stands alone: what is in it, what is absent, and that no name breaks it."""

import base64
import html
import io
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pretextbench.evaluate.pictures import ALIKE_HEADER
from pretextbench.ranking.budget_orders import budget_orders
from pretextbench.ranking.comparison import compare
from pretextbench.report.html import TITLES, recommendation_parts
from pretextbench.report.tables import percent
from pretextbench.tune.summary import Row, Summary
from tests.ranking.curves import with_curves
from tests.ranking.fakes import runs, unlabelled
from tests.ranking.page import PARAMS, PLAIN, Page, report

PNG = b"\x89PNG not really"
RECIPE = {"commit": "abc1234", "params.yaml": "encoder:\n  name: resnet10\n"}


class Greys:
    """Prepared images of which number i has the brightness 20 i in train and 20 i + 10 in validation."""

    def images(self, split):
        return np.stack([np.full((8, 8, 3), 20 * i + (10 if split == "val" else 0), np.uint8) for i in range(8)])


GREYS = Greys()


def with_files(results, folder):
    """The runs, each with a folder as the stages leave it."""
    rng, placed = np.random.default_rng(0), []
    for run in results:
        home = folder / f"{run.name}-{run.seed}"
        home.mkdir()
        (home / "history.csv").write_text("step,images,loss\n10,1280,3.5\n20,2560,2.5\n30,3840,2.25\n")
        dots = "".join(
            f"class{i % 12},{x:.4g},{y:.4g},{y:.4g},{x:.4g}\n" for i, (x, y) in enumerate(rng.random((60, 2)))
        )
        (home / "map.csv").write_text("class,pca_x,pca_y,tsne_x,tsne_y\n" + dots)
        (home / "samples.png").write_bytes(PNG)
        lines = (f"{q},class{q},{rank},{q + rank},class{q if rank % 2 else 9}\n" for q in range(3) for rank in (1, 2))
        (home / "neighbours.csv").write_text(",".join(ALIKE_HEADER) + "\n" + "".join(lines))
        placed.append(replace(run, folder=home))
    return placed


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    planted = runs({**PLAIN, "jigsaw": 0.64}, seeds=2, n=1500, seed_sd=0.01)
    curves = {"simclr": (0.3, 0.5, 0.6), "jigsaw": (0.4, 0.45, 0.5)}
    results = with_files(with_curves(planted, curves), tmp_path_factory.mktemp("runs"))
    row = Row(0, {"padding": 4}, (0.4,), 64, 1.0, "finished", "", True)
    orders = budget_orders({images: [run for run in results if run.kind == "method"] for images in (1, 2)}, PARAMS)
    comparison = replace(compare(results, PARAMS), tuning={"simclr": Summary("", {}, 0.0, (row,))}, orders=orders)
    audit = {"said": "No image of the test split is in train."}
    return comparison, results, report(results, comparison, audit=audit, pairs=PNG, recipe=RECIPE, images=GREYS)


def test_everything_is_there_once(full):
    page = Page(full[2])
    assert list(filter(None, page.sections)) == list(TITLES)
    assert [link[1:] for link in page.having("href") if link[1:] in TITLES][1:] == list(TITLES)
    assert max(Counter(page.having("id")).values()) == 1
    for link in page.having("href") + re.findall(r"url\((#[^)]*)\)", full[2]):
        assert link[1:] in page.having("id")


def test_the_page_names_the_images_and_speaks_of_layers(full):
    comparison, results, _ = full
    text = report(results, comparison, recipe={**RECIPE, "images": "flowers (/data/flowers)"})
    assert "<title>flowers: Which" in text
    assert "<li>flowers</li><li>8,500 images, 1,500 test images</li>" in text
    prose = re.sub(r"<[^>]*>", " ", text.partition("</style>")[2].partition('id="recipe"')[0])
    assert not re.search(r"\bstages?\b", prose)  # a layer in the documentation; a stage is DVC's


def test_it_needs_nothing_beside_it(full):
    page = Page(full[2])
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/webp;base64,")) for source in page.having("src")
    )
    assert all(link.startswith("#") for link in page.having("href"))
    assert "@import" not in full[2]
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", full[2])
    assert base64.b64encode(PNG).decode() in full[2]


def brightness(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).mean()


def test_each_row_shows_what_it_finds_and_whether_the_class_is_the_same(full):
    comparison, results, text = full
    section = text[text.index('<section id="similar"') : text.index("</section>", text.index('<section id="similar"'))]
    images = [dict(attrs) for tag, attrs in Page(section + "</section>").tags if tag == "img"]
    shown = [(round(brightness(image["src"]) / 10), image["alt"], image.get("class")) for image in images]
    expected = []
    for query in range(3):
        row = [(2 * (query + 1), f"class{query}", "same"), (2 * (query + 2), "class9", "other")]
        expected += [(2 * query + 1, "the query", None), *row * len(comparison.rows)]
    assert shown == expected
    strip = text[text.index('<ul class="strip"') : text.index('<section id="board"')]
    urls = re.findall(r'src="([^"]*)"', strip)
    assert [round(brightness(url) / 10) for url in urls] == [1, 3, 5]
    assert re.findall(r"<span>(.*?)</span>", strip) == ["class0", "class1", "class2"]
    assert 'id="similar"' not in report(results, comparison)
    assert 'class="strip"' not in report(results, comparison)


def test_every_term_with_a_dotted_line_is_explained_twice(full):
    words = re.findall(r'<abbr title="([^"]*)">', full[2])
    assert len(words) >= 4
    told = html.unescape(full[2][full[2].index('<dl class="glossary"') :])
    assert all(html.unescape(meaning) in told for meaning in words)


def test_the_leaderboard_has_every_number_and_order(full):
    comparison, _, text = full
    board = Page(text).sections["board"]
    assert [row.name for row in comparison.rows] == sorted(PLAIN | {"jigsaw": 0}, key=lambda name: board.index(name))
    for row in comparison.rows:
        line = board[board.index(row.name) :]
        for protocol in ("linear", "knn", *comparison.budgets):
            assert percent(comparison.cell(protocol, row.name)) in line
        low, high = comparison.verdicts["linear"].interval(row.name)
        assert f"{percent(low)}–{percent(high)}" in line  # noqa: RUF001
        assert f"{row.seconds:,.0f}" in line
        assert row.letters in line
    assert re.findall(r'class="use".*?(simclr|rotation|jigsaw)', text, re.DOTALL) == ["simclr"]


def test_places_of_the_intervals_are_on_one_axis(full):
    comparison, _, text = full
    board, at = text[text.index('<table class="board') : text.index("</table>")], []
    lines = re.findall(r"<tr.*?</tr>", board, re.DOTALL)[1:]
    for row, line in zip(comparison.rows, lines, strict=True):
        numbers = re.search(r'left: (\S+)%; width: (\S+)%"></i><i class="at" style="left: (\S+)%', line).groups()
        start, width, place = map(float, numbers)
        assert 0 < start < place < start + width < 100
        ends = comparison.verdicts["linear"].interval(row.name)
        at += [(place, comparison.cell("linear", row.name)), (start, ends[0]), (start + width, ends[1])]
    ticks = re.findall(r'<span style="left: (\S+)%">(\d+)</span>', text)
    scale, first = np.polyfit(*np.array(ticks, float).T[::-1], 1)
    assert len(ticks) >= 3
    assert all(place == pytest.approx(first + scale * 100 * value, abs=0.03) for place, value in at)


def test_differences_of_all_pairs(full):
    comparison, _, text = full
    pairs, verdict = Page(text).sections["pairs"], comparison.verdicts["linear"]
    names = [row.name for row in comparison.rows]
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            gap = float(percent(verdict.accuracy(name))) - float(percent(verdict.accuracy(other)))
            assert f"{gap:+.1f}" in pairs  # the difference of the numbers that the reader sees
    assert pairs.count("p ") >= 10
    apart = int(np.triu(verdict.judgement.different).sum())
    assert 0 < apart < 10
    pairs = text[text.index('id="pairs"') : text.index('id="labels"')]
    assert pairs.count("--v:") == apart
    assert pairs.count('class="same"') == 10 - apart


def test_colours_are_variables_that_the_page_defines(full):
    text = full[2]
    assert "fe01" not in text
    assert set(re.findall(r"var\(--([\w-]+)", text)) <= set(re.findall(r"--([\w-]+):", text))
    for figure in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b", figure)


def test_the_same_numbers_give_the_same_bytes(full):
    comparison, results, text = full
    audit = {"said": "No image of the test split is in train."}
    again = report(results[::-1], comparison, audit=audit, pairs=PNG, recipe=dict(RECIPE), images=GREYS)
    assert again == text


def test_names_are_text_and_never_markup():
    evil, image = "<script>alert(1)</script>", "![x](http://evil.example/x.png)"
    results = runs({f"{evil}&$x$": 0.7, "b": 0.5}, seeds=1)
    for run in results:
        run.metrics["classes"] = [evil, image, *run.metrics["classes"][2:]]
        run.metrics["robustness"]["corruptions"] = {evil: [0.5] * 5}
        run.metrics["transfer"]["source"] = evil
        run.predictions[f"robust.layer3.{evil}"] = run.predictions["robust.layer3.noise"]
    text = report(
        results,
        recommendation=f"# T\n\n**Use {evil}.** {image}\n\n## H\n\n- <b>a</b>\n",
        recipe={evil: evil, "more": f"{evil}\n{evil}"},
    )
    page = Page(text)
    assert not {"script", "b"} & {tag for tag, _ in page.tags if tag == "script"}
    assert "<script" not in text
    assert all(source.startswith("data:") for source in page.having("src"))
    assert evil in page.sections["classes"]
    loose = [unlabelled(run) for run in results]
    for run in loose:
        run.metrics["reason"] = f"{evil} {image}"
    assert "<script" not in report(loose)
    assert "<img" not in report(loose)


def test_maps_colour_ten_classes_and_lose_no_image(full):
    text = full[2]
    assert "2 other classes" in Page(text).sections["maps"]
    for drawn in re.findall(r'<svg class="map".*?</svg>', text, re.DOTALL):
        assert drawn.count("h0") == 60
        places = np.array(re.findall(r"M(\S+) (\S+?)h0", drawn), float)
        assert places.min() >= 0
        assert places.max() <= 200
        assert np.ptp(places, axis=0).max() == pytest.approx(188, abs=0.2)
        assert "--class-1" in drawn


def test_the_words_are_parted_at_the_first_heading():
    title, lead, rest = recommendation_parts(
        "# What?\n\n**Use x.** 5 % more (p < 0.001).\n\n## Cost\n\n- one\n- two\n\n## Limits\n\nNone.\n"
    )
    assert title == "What?"
    assert lead == "<p><strong>Use x.</strong> 5\u00a0% more (p\u00a0&lt;\u00a00.001).</p>\n"
    assert (
        re.sub(r"\s", "", rest)
        == "<div><h3>Cost</h3><ul><li>one</li><li>two</li></ul></div><div><h3>Limits</h3><p>None.</p></div>"
    )
    assert recommendation_parts("# What?\n\nNothing.\n")[2] == ""


def test_it_needs_no_torch():
    code = (
        "import pretextbench.report.html, sys; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
