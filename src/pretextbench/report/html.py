"""The report: one self-contained HTML file, with the answer on the first screen and its reasons below."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from pretextbench.compare import robustness
from pretextbench.compare.comparison import Comparison
from pretextbench.compare.protocols import KNN, LAST, LINEAR, pictured
from pretextbench.compare.runs import Run
from pretextbench.report import budget_orders, cost_figure, figures, learning, panels, sections, tuning
from pretextbench.report.label_notes import kinds, label_notes
from pretextbench.report.panels import MATRIX, classes, confusion, mistakes
from pretextbench.report.sections import Groups
from pretextbench.report.svg import STEPS, Style, styles
from pretextbench.report.tables import caption, percent

PAGES = Environment(
    loader=PackageLoader("pretextbench", "report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters["percent"] = percent
# Names of methods and classes are anyone's: they make no HTML, and nothing that a browser would fetch.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink"])
TITLES = {
    "board": "Leaderboard",
    "reasons": "Before you choose",
    "pairs": "Differences of pairs",
    "labels": "With fewer labels",
    "cost": "Cost",
    "curves": "Learning curves",
    "orders": "Budgets of pretraining",
    "tuning": "Tuning",
    "others": "Other protocols",
    "layers": "Which layer to use",
    "robust": "Robustness",
    "classes": "Classes",
    "alike": "Look-alikes",
    "maps": "Maps of the features",
    "methods": "The methods at work",
    "labelfree": "Without labels",
    "more": "More numbers",
    "audit": "Leak audit",
    "recipe": "How to reproduce it",
}
PICTURES = {
    "samples.png": "The method on validation images: its input, its output and the true answer.",
    "neighbours.png": "Validation images (left) and the training images that are most similar to the encoder.",
}


def report_html(
    comparison: Comparison,
    runs: Sequence[Run],
    recommendation: str,
    audit: Mapping[str, Any] | None,
    audit_picture: bytes | None,
    recipe: Mapping[str, str],
) -> str:
    """The whole page. A section without data is absent.

    Args:
        comparison: of these runs.
        recommendation: Markdown, as recommend.py writes it.
        audit: content of audit.json; `said` is its sentence.
        audit_picture: a PNG of the pairs that were found.
        recipe: how to reproduce the report: heading -> text.
    """
    groups = {
        row.name: sorted((run for run in runs if run.name == row.name), key=lambda run: run.seed)
        for row in comparison.rows
    }
    looks = styles(comparison.rows)
    title, lead, reasons = recommendation_parts(recommendation)
    images = recipe.get("images", "")
    judged = LINEAR in comparison.verdicts
    free = sections.labelfree(comparison)
    parts: dict[str, Any] = dict.fromkeys(TITLES) | {
        "board": _board(comparison) if judged else {"unjudged": free},
        "reasons": reasons,
        **(_judged(comparison, runs, groups, looks) if judged else {}),
        "tuning": tuning.section(comparison, looks),
        "maps": panels.maps(groups),
        "methods": _methods(groups, looks),
        "labelfree": free if judged else None,
        "more": sections.more(comparison, groups),
        "audit": {"said": audit["said"], "picture": picture(audit_picture)} if audit else None,
        "recipe": dict(recipe),
    }
    page = PAGES.get_template("report.html.j2")
    return page.render(
        comparison=comparison,
        heads=sections.HEADS[str(comparison.task.get("name", "class"))],
        caption=[Markup(MARKDOWN.renderInline(line)) for line in caption(comparison) if line],
        lead=lead,
        label_notes=[Markup(MARKDOWN.renderInline(line)) for line in label_notes(comparison)],
        looks=looks,
        parts=parts,
        facts=[*([f"images: {images}"] if images else []), *_facts(comparison)],
        images=images,
        side=panels.SIDE,
        title=title,
        titles={name: TITLES[name] for name in TITLES if parts.get(name)}
        | (panels.own_title(comparison) if parts["classes"] else {}),
    )


def recommendation_parts(recommendation: str) -> tuple[str, Markup, Markup]:
    """Its title, the answer, and the sections below the answer, as HTML."""
    for loose in (" %", "p < ", "p = "):  # numbers stay with their units
        recommendation = recommendation.replace(loose, loose.replace(" ", "\u00a0"))
    head, rule, sections = recommendation.partition("\n## ")
    title, _, lead = head.removeprefix("# ").partition("\n")
    rendered = MARKDOWN.render(rule.lstrip() + sections).replace("<h2>", "</div><div><h3>").replace("</h2>", "</h3>")
    return (
        title.strip(),
        Markup(MARKDOWN.render(lead)),
        Markup(rendered.removeprefix("</div>") + "</div>" if rendered else ""),
    )


def picture(png: bytes | None) -> str:
    """A data URL; empty without a picture."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""


def _facts(comparison: Comparison) -> list[str]:
    """The frame of the comparison in a few words each."""
    seeds = sorted({len(row.seeds) for row in comparison.rows})
    counted = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return [
        f"{comparison.images:,} {'test' if comparison.verdicts else 'validation'} images",
        kinds(comparison) if comparison.classes or comparison.task else "no classes",
        f"{counted} seed{'' if counted == '1' else 's'} per row",
        _budget(comparison),
    ]


def _budget(comparison: Comparison) -> str:
    most = max(row.images_seen for row in comparison.rows)
    if comparison.work:
        return f"{comparison.work:.3g} multiply-adds in each pretraining, up to {most:,} images seen"
    return f"{'up to ' if comparison.unequal else ''}{most:,} images seen in pretraining"


def _board(comparison: Comparison) -> dict[str, Any]:
    verdict = comparison.verdicts[LINEAR]
    intervals = [interval for row in comparison.rows if (interval := verdict.interval(row.name))]
    low, high = 100 * min(start for start, _ in intervals), 100 * max(end for _, end in intervals)
    reach = max(high - low, 2.0)
    ends = max(low - 0.05 * reach, min(low, 0)), min(high + 0.05 * reach, 100)
    ticks = [
        float(tick)
        for tick in MaxNLocator(5, integer=True, steps=STEPS).tick_values(*ends)
        if ends[0] <= tick <= ends[1]
    ]
    by_labels = sorted(comparison.budgets, key=lambda budget: comparison.budgets[budget] or 0)
    ends_of_it = dict.fromkeys([*by_labels[:1], *by_labels[-1:]])  # the first screen has room for two
    budgets = {budget: sections.column(comparison, budget) for budget in ends_of_it}
    return {
        "forest": sections.forest(comparison, ends, ticks),
        "linear": sections.column(comparison, LINEAR),
        "knn": sections.column(comparison, KNN),
        "budgets": budgets,
        "scratch": sections.scratch(comparison),
        "winners": sections.winners(comparison),
        "empty": {row.name: row.notes for row in comparison.rows if row.notes},
    }


def _judged(comparison: Comparison, runs: Sequence[Run], groups: Groups, looks: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that need labels."""
    severity = figures.severity(groups, looks)
    return {
        "pairs": sections.pairs(comparison),
        "labels": figures.budgets(comparison, groups, looks),
        "others": sections.other_protocols(comparison, runs),
        "layers": {
            "figures": {figures.PROBES[probe]: figures.layers(groups, looks, probe) for probe in figures.PROBES},
            "losses": _last_layer(comparison),
        },
        "cost": cost_figure.costs(comparison, looks),
        "curves": _curves(comparison, looks),
        "orders": budget_orders.section(comparison, looks),
        "robust": severity
        and {
            "mean": severity,
            "each": figures.corruptions(groups, looks),
            "drops": sections.lost(groups),
            "images": max(part.images for group in groups.values() for part in robustness.curves(group)),
        },
        "classes": _classes(comparison, groups),
        "alike": sections.look_alikes(groups),
    }


def _curves(comparison: Comparison, looks: Mapping[str, Style]) -> dict[str, Any] | None:
    drawn = learning.figure(comparison, looks)
    if drawn is None:
        return None
    return {"figure": drawn, "crossings": learning.crossings(comparison), "images": comparison.curves.votes}


def _last_layer(comparison: Comparison) -> list[str]:
    """The loss from probing the last layer instead of the best, in words, where it is half a point or more."""
    gaps = []
    for row in comparison.rows:
        best, last = comparison.cell(LINEAR, row.name), comparison.cell(LAST, row.name)
        if best is not None and last is not None and best - last >= 0.005:
            gaps.append(f"{row.name} {100 * (best - last):.1f} points ({row.layers['linear']} is its best)")
    return gaps


def _classes(comparison: Comparison, groups: Groups) -> dict[str, Any] | None:
    table, tables = classes(comparison, groups), confusion(groups)
    if not table:
        return None
    names = next(iter(groups.values()))[0].metrics["classes"]
    single = {"multi-label": "Average precision per label", "mask": "Intersection over union per value"}
    best = next((row.name for row in comparison.contenders if row.name in tables), None)
    return {
        "table": table,
        "measure": single.get(str(comparison.task.get("name")), "Accuracy per class"),
        "names": names,
        "best": best,
        "mistakes": mistakes(tables[best], names) if best else [],
        "confusion": {name: table.tolist() for name, table in tables.items()} if len(names) <= MATRIX else {},
        "left_out": bool(tables) and len(names) > MATRIX,
        "most": MATRIX,
    }


def _methods(groups: Groups, looks: Mapping[str, Any]) -> dict[str, Any] | None:
    """Loss curves of all seeds, and the pictures of one seed of each row."""
    losses, pictures = figures.losses(groups, looks), {}
    for name, group in groups.items():
        folder = pictured(group).folder
        candidates = [(caption, folder / file) for file, caption in PICTURES.items()] if folder else []
        if shown := [(caption, picture(path.read_bytes())) for caption, path in candidates if path.is_file()]:
            pictures[name] = shown
    return {"losses": losses, "pictures": pictures} if losses or pictures else None
