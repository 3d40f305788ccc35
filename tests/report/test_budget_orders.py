"""The sentences, the table and the file of the orders at several budgets."""

from dataclasses import replace

import pytest

from pretextbench.params import Compare
from pretextbench.ranking.budget_orders import budget_orders
from pretextbench.ranking.comparison import compare
from pretextbench.report import budget_orders as module
from pretextbench.report.html import report_html
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.svg import styles
from tests.ranking.fakes import runs

PARAMS = Compare(resamples=100)
SMALL = {"simclr": 0.6, "rotation": 0.7, "jigsaw": 0.5}
TURNED, SAME = {"simclr": 0.8, "rotation": 0.7, "jigsaw": 0.5}, {"simclr": 0.7, "rotation": 0.8, "jigsaw": 0.6}


def made(large=None, seeds=3, n=2000):
    small = runs(SMALL, seeds, n, seed=7, seed_sd=0.03)
    groups = {24_000: small} | ({96_000: runs(large, seeds, n, seed=7, seed_sd=0.03)} if large else {})
    return replace(compare(small, PARAMS), orders=budget_orders(groups, PARAMS)), small


@pytest.mark.parametrize(
    ("large", "seeds", "n", "words"),
    [
        (
            TURNED, 3, 2000,
            "At 24,000 and 96,000 images (linear probe on test): **The order depends on the budget:** rotation is "
            "above simclr at 24,000 images, and below it at 96,000. Validation picks rotation at 24,000 and simclr at "
            "96,000 images. Kendall's tau of the orders (1: the same, -1: reversed): 0.33 from 24,000 to 96,000.",
        ),
        (SAME, 3, 2000, "No pair changes places: 3 of 3 pairs differ at two budgets or more, always in one direction."),
        (TURNED, 1, 2000, "rotation's encoder is above simclr's encoder at 24,000 images"),
        (dict.fromkeys(SMALL, 0.6), 3, 60, "No pair differs at two budgets by more than the error"),
    ],
)  # fmt: skip
def test_the_sentence_says_whether_the_order_depends_on_the_budget(large, seeds, n, words):
    comparison, _ = made(large, seeds, n)
    (sentence,) = module.sentences(comparison)
    assert words in sentence
    text = recommendation_md(comparison)
    assert sentence in text
    assert "whether the order holds beyond 96,000 images" in text


def test_the_table_and_the_file_have_the_accuracies_of_each_budget():
    comparison, results = made(TURNED)
    section = module.section(comparison, styles(comparison.rows))
    assert section["header"] == ["24,000 images", "96,000 images"]
    accuracies = [order.verdict.accuracy("simclr") for order in comparison.orders.orders]
    assert [cell.split()[0] for cell in section["rows"]["simclr"]] == [f"{100 * a:.1f}" for a in accuracies]
    header, *lines = module.orders_csv(comparison).splitlines()
    assert header == "name,images,accuracy,low,high,colour"
    assert len(lines) == 6
    assert f"simclr,96000,{accuracies[1]:.6g}," in "\n".join(lines)
    page = report_html(comparison, results, recommendation_md(comparison))
    assert '<section id="orders">' in page
    assert section["rows"]["jigsaw"][1] in page


def test_with_one_budget_nothing_is_said():
    comparison, results = made()
    assert module.sentences(comparison) == []
    assert module.section(comparison, {}) is None
    assert module.orders_csv(comparison) == "name,images,accuracy,low,high,colour\n"
    assert 'id="orders"' not in report_html(comparison, results, recommendation_md(comparison))
