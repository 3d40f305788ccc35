"""Stage `compare`: every evaluation -> leaderboard (csv, md, png), curves, metrics, the recommendation, report.html."""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pretextbench.base.files import read_json, write_whole
from pretextbench.data.prepared import Prepared
from pretextbench.params import Compare
from pretextbench.project import layout
from pretextbench.project.answer import answer
from pretextbench.project.settings import parameters, parameters_text
from pretextbench.project.variant import at_budget
from pretextbench.ranking.budget_orders import BudgetOrders, budget_orders
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.runs import CARD, Run, read
from pretextbench.report.html import Appendix
from pretextbench.report.output import write
from pretextbench.track.records import git_commit
from pretextbench.track.stage_records import record_compare
from pretextbench.tune import summary
from pretextbench.tune.summary import Summary
from stages import inputs

VEGA = Path(".dvc/tmp/vega.js")
PACKAGES = ("pretextbench", "torch", "kornia", "lightning-fabric", "numpy", "scipy", "dvc", "prefect", "mlflow")


def main() -> None:
    """Rank the encoders of this comparison; others in the same folder are ignored."""
    params = parameters()
    names = params.compare.methods + params.compare.controls
    folders = [f"{name}-{seed}" for name in names for seed in params.compare.seeds]
    folders += [f"{name}-0" for name in params.compare.references]
    evaluations = layout.EVALUATED
    runs, others = read(evaluations, folders), at_budgets(params.compare)
    folders += [run.folder.name for group in others.values() for run in group if run.folder]
    steps = recipe([evaluations / folder for folder in folders])
    appendix = Appendix.read(layout.AUDIT, steps, Prepared(layout.IMAGES), date.today())
    comparison = replace(
        compare(runs, params.compare, params.compare.seed),
        tuning=tuned(params.compare.methods),
        orders=orders(runs, others, params.compare),
    )
    write(comparison, runs, layout.REPORTS, appendix)
    inputs.check()
    record_compare(
        layout.REPORTS, [evaluations / folder for folder in folders], layout.root(), layout.experiment(params)
    )
    write_vega(layout.root() / VEGA)
    print(answer(Path()))


def write_vega(target: Path) -> None:
    """The scripts that the page of `dvc plots show` draws with, once: then it needs no network.

    The page is .dvc/plots/page.html; without these scripts it loads them from the network.
    """
    if target.is_file() or not target.parent.is_dir() or not find_spec("vl_convert"):
        return
    import vl_convert  # type: ignore[import-not-found,unused-ignore]  # 84 MB, and only needed once

    # Without a snippet the bundle gives the page `vegaEmbed`; the stub of the library wants one.
    try:
        bundle = vl_convert.javascript_bundle(vl_version="5.20")  # type: ignore[call-arg,unused-ignore]
    except Exception as error:  # of a library that draws a page: no reason to lose the comparison
        print(f"warning: the page of `dvc plots show` will load Vega from the network: {error}", file=sys.stderr)
        return
    write_whole(target, bundle.encode())


def at_budgets(params: Compare) -> dict[int, list[Run]]:
    """Budget in images -> the runs of the methods there, under the names of their rows."""
    groups = {}
    for images in params.budgets:
        rows = {at_budget(name, images): name for name in params.methods}
        runs = read(layout.EVALUATED, [f"{row}-{seed}" for row in rows for seed in params.seeds])
        groups[images] = [replace(run, name=rows[run.name]) for run in runs]
    return groups


def orders(runs: Sequence[Run], others: Mapping[int, Sequence[Run]], params: Compare) -> BudgetOrders:
    """The orders of the methods at the common budget, whose runs are `runs`, and at the other ones."""
    methods = [run for run in runs if run.kind == "method"]
    if not methods or not others:
        return BudgetOrders()
    images = parameters().pretrain.images or max(run.images_seen for run in methods)
    return budget_orders({images: methods, **others}, params)


def tuned(methods: Sequence[str]) -> dict[str, Summary]:
    """The tuning of each method that has one."""
    summaries = {name: summary.read(layout.tuned(name)) for name in methods}
    return {name: entry for name, entry in summaries.items() if entry}


def recipe(evaluations: list[Path]) -> dict[str, str]:
    """The recipe to reproduce the result, in the order in which a reader needs it."""
    prepare = parameters().prepare
    cards = [read_json(folder / CARD, "Run the pretrain stage of this run.") for folder in evaluations]
    commit = git_commit(layout.root())
    plugins = sorted({f"{card['distribution']} {card['version']}" for card in cards})
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    machine = sorted({f"{card['device']}, {card['precision']}" for card in cards})
    monitored = sorted({card["method"] for card in cards if card.get("monitored")})
    watched = (
        f"while {', '.join(monitored)} trained; it chose nothing, and the seconds leave it out" if monitored else ""
    )
    return {
        "command": (f"git checkout {commit}\n" if commit else "") + "uv sync\nuv run dvc repro",
        "commit": commit or "not a git repository",
        "images": f"{Path(prepare.path).name} ({prepare.path})" if prepare.path else prepare.source,
        "images, SHA-256": "\n".join(sorted({card["data_sha256"] for card in cards})),
        "trained on": "; ".join(machine),
        **({"k-NN on validation labels watched": watched} if watched else {}),
        "versions": "\n".join(dict.fromkeys([f"Python {platform.python_version()}", *packages, *plugins])),
        "params.yaml": parameters_text(),
    }
