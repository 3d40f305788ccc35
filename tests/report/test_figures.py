"""The figures of the report: places against the numbers, names that never collide, colours that can be read."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretextbench.base import colours
from pretextbench.params import Compare
from pretextbench.ranking import robustness
from pretextbench.ranking.comparison import compare
from pretextbench.report import figures, svg
from pretextbench.report.cost_figure import costs
from pretextbench.report.output import budgets_csv
from pretextbench.report.svg import chart, paint, render, spread, styles
from pretextbench.report.tables import leaderboard_csv
from tests.ranking.fakes import BUDGETS, STAGES, runs

PLAIN = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}
BUILT_IN = colours.ORDER
CSS = Path(svg.__file__).with_name("report.css").read_text()


@pytest.fixture(scope="module")
def plain():
    results = runs(PLAIN)
    for run in results:
        run.metrics["data"]["train_labelled"] = 6000
    comparison = compare(results, Compare(resamples=300))
    return comparison, {row.name: [run for run in results if run.name == row.name] for row in comparison.rows}


def lines(text, variable):
    """The (n, 2) points of every line in one colour, the label's leader included."""
    paths = re.findall(rf'<path d="([^"]*)"[^>]*style="[^"]*stroke: var\(--{variable}\)', text)
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) for path in paths]


def straight(results, wanted):
    """Whether the places are a linear function of the numbers."""
    return np.abs(np.polyval(np.polyfit(wanted, results, 1), wanted) - results).max() < 0.03


def test_names_beside_lines_keep_their_order_and_their_distance():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.random(rng.integers(1, 9)) * 60
        results = np.array(spread(list(wanted), 14))
        assert (np.argsort(results) == np.argsort(wanted)).all()
        assert np.diff(np.sort(results)).min(initial=14) >= 14 - 1e-9
        assert results.mean() == pytest.approx(wanted.mean())
    assert spread([5, 100, 50], 14) == [5, 100, 50]
    assert spread([10, 10], 14) == [3, 17]
    assert spread([], 14) == []


def test_layers_are_drawn_where_their_accuracies_are(plain):
    _, groups = plain
    text, looks, results = figures.layers(groups, styles(plain[0].rows), "linear"), styles(plain[0].rows), []
    for name, group in groups.items():
        wanted = [group[0].metrics["linear"]["layers"][stage]["test"]["top1"] for stage in STAGES]
        (places,) = (line for line in lines(text, looks[name].hue) if len(line) == len(STAGES))
        assert np.allclose(np.diff(places[:, 0]), np.diff(places[:, 0])[0], atol=0.02)
        results += list(zip(places[:, 1], wanted, strict=True))
    assert straight(*np.array(results).T)
    assert results[0][0] < results[-1][0]  # the best is on top


def test_a_layer_has_one_place_for_encoders_of_different_layers(plain):
    """A row with a class token, which ranks it before the last layer, beside rows without."""
    groups = dict(plain[1])
    name = next(iter(groups))
    run = groups[name][0]
    *first, last = run.metrics["linear"]["layers"].items()
    more = {
        "linear": {**run.metrics["linear"], "layers": dict([*first, ("cls", last[1]), ("cls_mean", last[1]), last])}
    }
    groups[name] = [replace(run, metrics={**run.metrics, **more})]
    looks = styles(plain[0].rows)
    text, ends = figures.layers(groups, looks, "linear"), {}
    for row in groups:
        count = len(STAGES) + 2 * (row == name)
        (places,) = (line for line in lines(text, looks[row].hue) if len(line) == count)
        ends[row] = places[0, 0], places[-1, 0]
    assert len(set(ends.values())) == 1
    assert text.index("cls") < text.index("cls_mean")


def test_labels_are_on_a_logarithmic_axis_and_end_with_all_of_them(plain):
    comparison, groups = plain
    looks = styles(comparison.rows)
    text = figures.budgets(comparison, groups, looks)
    for name in groups:
        (places,) = (line for line in lines(text, looks[name].hue) if len(line) == 3 and np.ptp(line[:, 0]) > 200)
        assert places[1, 0] - places[0, 0] == pytest.approx(places[2, 0] - places[1, 0], abs=0.02)  # 60, 600, 6000
        wanted = [comparison.cell(budget, name) for budget in (*BUDGETS, "linear")]
        assert straight(places[:, 1], wanted)
    assert "6,000" in text
    assert figures.budgets(replace(comparison, budgets={}), groups, looks) is None


def test_robustness_starts_at_the_clean_accuracy(plain):
    _, groups = plain
    looks = styles(plain[0].rows)
    text = figures.severity(groups, looks)
    for name, group in groups.items():
        (results,) = robustness.curves(group)
        assert results.mean == group[0].metrics["robustness"]["mean"]
        (places,) = (line for line in lines(text, looks[name].hue) if len(line) == 6)
        assert straight(places[:, 1], [results.clean, *results.mean])
    assert list(figures.corruptions(groups, looks)) == ["noise", "blur", "rotate"]
    bare = {}
    for name, (run, *_) in groups.items():
        bare[name] = [replace(run, metrics={k: v for k, v in run.metrics.items() if k != "robustness"})]
    assert figures.severity(bare, looks) is None
    assert figures.corruptions(bare, looks) == {}


def test_cost_labels_cover_neither_names_nor_points():
    close = {"simclr": 0.7, "rotation": 0.7, "random": 0.6}
    results = runs(close)
    results[1] = replace(
        results[1], predictions=results[0].predictions
    )  # as high, 6 s to the right: no room for a name
    comparison = compare(results, Compare(resamples=50))
    looks, boxes = styles(comparison.rows), {}
    text = costs(comparison, looks)[0][2]
    for anchor, x, y, name in re.findall(r'text-anchor: (\w+)[^"]*" x="(\S+)" y="(\S+)"[^>]*>([a-z]+)</text>', text):
        width = svg.TEXT * svg.LETTER * len(name)
        boxes[name] = (float(x) - width * {"start": 0, "middle": 0.5, "end": 1}[anchor], float(y) - 4, width)
    points = {
        name: re.search(rf'<use [^>]*x="(\S+)" y="(\S+)"[^>]*--{looks[name].hue}\)', text).groups() for name in close
    }
    for name, (x, y, width) in boxes.items():
        for u, v in np.array(list(points.values()), float):
            assert not (x - 3 < u < x + width + 3 and abs(y - v) < 6), name
        for u, v, w in (box for other, box in boxes.items() if other != name):
            assert not (x < u + w and u < x + width and abs(y - v) < svg.TEXT - 2), name
    assert set(close) <= set(boxes)
    assert costs(replace(comparison, rows=comparison.rows[:1]), looks) == []


def test_losses_of_rows_that_were_trained(plain, tmp_path):
    comparison, groups = plain
    noise = np.random.default_rng(0).normal(size=3000)
    steps = "".join(f"{i},{i * 128},{loss}\n" for i, loss in enumerate(noise, 1))
    (tmp_path / "history.csv").write_text("step,images,loss\n" + steps)
    (tmp_path / "idle").mkdir()
    (tmp_path / "idle/history.csv").write_text("step\n")
    placed = {"simclr": [replace(groups["simclr"][0], folder=tmp_path)]}
    placed |= {"random": [replace(groups["random"][0], folder=tmp_path / "idle")], "rotation": groups["rotation"]}
    results = figures.losses(placed, styles(comparison.rows))
    assert list(results) == ["simclr"]
    assert len(results["simclr"]) < 15_000  # all steps would take 34,000


def test_figures_on_one_page_share_no_id_and_keep_any_name():
    texts = []
    for name in ("one", "two"):
        figure, axes = chart("a $x$ <b>", "y", (440, 290))
        axes.plot([0, 1], [0, 1], marker="o", color=paint("hue0"), clip_on=True)
        texts.append(render(figure, name, 'said "so" <b>'))
    ids = [set(re.findall(r'id="([^"]*)"', text)) for text in texts]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert "a $x$ &lt;b&gt;" in texts[0]
    assert 'aria-label="said &#34;so&#34; &lt;b&gt;"' in texts[0]
    assert "http" not in texts[0]


def test_every_method_of_the_project_has_its_own_look_in_any_company():
    row = compare(runs({"a": 0.5}), Compare(resamples=50)).rows[0]
    names = {folder.name for folder in (Path(__file__).parents[2] / "plugins").iterdir() if folder.is_dir()}
    assert names == set(BUILT_IN)
    looks = styles([replace(row, name=name) for name in names])
    assert len({(look.hue, look.marker, look.dash) for look in looks.values()}) == len(names)
    for name, look in looks.items():
        assert styles([replace(row, name=name)]) == {name: look}
        assert colours.line_colour(name) == colours.HUES[int(look.hue.removeprefix("hue"))].line


def test_names_of_others_keep_their_hue_and_look_unlike_each_other_and_the_methods_of_the_project():
    row = compare(runs({"a": 0.5}), Compare(resamples=50)).rows[0]
    names = [*BUILT_IN, "simclr-a", "simclr-0.5", "simclr-cold", "simclr-0.2", *(f"m{i}" for i in range(20))]
    looks = styles([replace(row, name=name) for name in names])
    assert len({(look.hue, look.marker, look.dash) for look in looks.values()}) == len(names)
    assert styles([replace(row, name=name) for name in reversed(names)]) == looks
    for name in names:
        assert styles([replace(row, name=name)])[name].hue == looks[name].hue


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.dot(
        [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels], [0.2126, 0.7152, 0.0722]
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_in_both_modes(mode):
    light, dark = CSS.split("@media screen and (prefers-color-scheme: dark)")[:2]
    text = {f"text{i}": hue.text if mode == "light" else hue.dark_text for i, hue in enumerate(colours.HUES)}
    results = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", light.replace("#fff;", "#ffffff;")))
    if mode == "dark":
        results |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark[: dark.index("* {")]))
    results |= text
    assert len(results) > 20
    for name in ("ink", "soft", "accent", "floor-text", "ceiling-text", *text):
        a, b = sorted((luminance(results[name]), luminance(results["paper"])))
        assert (b + 0.05) / (a + 0.05) >= 4.5, name  # WCAG 2.2, AA


def test_every_sentinel_has_its_own_colour():
    assert len({paint(name) for name in svg.VARIABLES}) == len(svg.VARIABLES)


def test_tables_name_the_colour_that_the_figures_have(plain):
    for text in (leaderboard_csv(plain[0]), budgets_csv(plain[0], [run for some in plain[1].values() for run in some])):
        colour = {line["name"]: line["colour"] for line in csv.DictReader(io.StringIO(text))}
        assert colour.keys() == PLAIN.keys()
        for name, look in styles(plain[0].rows).items():
            own = re.search(rf"--{look.hue}: (#\w+);", CSS) if name in colours.CONTROLS else None
            assert colour[name] == (own[1] if own else colours.HUES[int(look.hue.removeprefix("hue"))].line)
