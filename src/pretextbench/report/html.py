"""The report: one self-contained HTML file, with the answer on the first screen and its reasons below."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from pretextbench.base.colours import HUES
from pretextbench.base.files import read_json
from pretextbench.data.prepared import Prepared
from pretextbench.ranking import robustness
from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import LAST, LINEAR, pictured
from pretextbench.ranking.runs import Run
from pretextbench.report import (
    alike,
    budget_orders,
    cost_figure,
    figures,
    first_screen,
    learning,
    panels,
    sections,
    tuning,
)
from pretextbench.report.label_notes import caption, label_notes
from pretextbench.report.panels import MATRIX, classes, confusion, mistakes
from pretextbench.report.sections import Groups
from pretextbench.report.svg import Style, styles
from pretextbench.report.tables import percent

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
    "similar": "What each row finds alike",
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
    "alike": "Look-alikes in numbers",
    "maps": "Maps of the features",
    "methods": "The methods at work",
    "labelfree": "Without labels",
    "more": "More numbers",
    "audit": "Leak audit",
    "recipe": "How to reproduce it",
}
SAMPLES = "samples.png", "The method on validation images: its input, its output and the true answer."


@dataclass(frozen=True)
class Appendix:
    """Contents of the page besides the comparison."""

    audit: Mapping[str, Any] | None = None  # content of audit.json; `said` is its sentence
    pairs: bytes | None = None  # PNG of the pairs that it found
    recipe: Mapping[str, str] = field(default_factory=dict)  # heading -> text: how to get the result again
    images: Prepared | None = None  # of which the page shows some
    day: date | None = None  # of the comparison

    @classmethod
    def read(cls, audit: Path, recipe: Mapping[str, str], images: Prepared, day: date) -> "Appendix":
        """From the folder of the leak audit.

        Raises:
            UserError: it cannot be read.
        """
        content = read_json(audit / "audit.json", "Run the audit stage; it writes it.")
        picture = audit / "pairs.png"
        return cls(content, picture.read_bytes() if picture.is_file() else None, recipe, images, day)


def report_html(
    comparison: Comparison, runs: Sequence[Run], recommendation: str, appendix: Appendix | None = None
) -> str:
    """The whole page. A section without data is absent.

    Args:
        comparison: of these runs.
        recommendation: Markdown, as recommend.py writes it.
        appendix: pictures, the leak audit, how to reproduce it.
    """
    extras = appendix or Appendix()
    groups = {
        row.name: sorted((run for run in runs if run.name == row.name), key=lambda run: run.seed)
        for row in comparison.rows
    }
    looks = styles(comparison.rows)
    title, lead, reasons = recommendation_parts(recommendation)
    images = extras.recipe.get("images", "").partition(" (")[0]  # the path is in the recipe
    judged = LINEAR in comparison.verdicts
    free = sections.labelfree(comparison)
    parts: dict[str, Any] = dict.fromkeys(TITLES) | {
        "board": first_screen.board(comparison) if judged else {"unjudged": free},
        "reasons": reasons,
        **(_judged(comparison, runs, groups, looks) if judged else {}),
        "tuning": tuning.section(comparison, looks),
        "maps": panels.maps(groups),
        "methods": _methods(groups, looks),
        "labelfree": free if judged else None,
        "more": sections.more(comparison, groups),
        "similar": alike.look_alikes(groups, extras.images),
        "audit": {"said": extras.audit["said"], "picture": picture(extras.pairs)} if extras.audit else None,
        "recipe": dict(extras.recipe),
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
        facts=first_screen.facts(comparison, runs, images, extras.day),
        glossary=first_screen.glossary(comparison),
        hues=HUES,
        images=images,
        strip=alike.strip(groups, extras.images),
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
    """Loss curves of all seeds, and the pictures of one seed of each method."""
    losses, pictures = figures.losses(groups, looks), {}
    name, caption = SAMPLES
    for row, group in groups.items():
        folder = pictured(group).folder
        if folder and group[0].kind == "method" and (folder / name).is_file():
            pictures[row] = [(caption, picture((folder / name).read_bytes()))]
    return {"losses": losses, "pictures": pictures} if losses or pictures else None
