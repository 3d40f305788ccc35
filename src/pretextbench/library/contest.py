"""A comparison in this process: the science of the pipeline, without DVC, Prefect and MLflow.

The folder that it leaves has the layout of a project, so that `open` and the commands `embed` and `export` read it.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch

from pretextbench import registry
from pretextbench.audit.together import near_duplicates
from pretextbench.base.section import parse
from pretextbench.data.prepare import NOTES, prepare
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.evaluate.evaluation import save
from pretextbench.evaluate.protocol import evaluate
from pretextbench.evaluate.subject import Snapshots, Subject
from pretextbench.library.opened import Result
from pretextbench.methods.derived import derive
from pretextbench.params import Params, Prepare
from pretextbench.project import demands, layout
from pretextbench.project.inventory import Entry, take_stock
from pretextbench.project.variant import row_of
from pretextbench.ranking.comparison import compare as rank
from pretextbench.ranking.runs import read
from pretextbench.report.html import Appendix
from pretextbench.report.output import write
from pretextbench.train import checkpoint, encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain
from pretextbench.views.frozen import Views
from pretextbench.views.make import make_views

ORIGIN = "compare()"  # in messages on parameters
SOURCES = set(get_args(Prepare.model_fields["source"].annotation)) - {"folder"}  # data sets by name
RANDOM = "random"  # the control whose encoder is not trained


def compare(
    source: str | Path = "synthetic",
    methods: Sequence[str] = ("simclr", "colorization"),
    *,
    controls: Sequence[str] | None = None,
    images: int = 12_000,
    seeds: Sequence[int] = (0,),
    folder: str | Path | None = None,
    tell: Callable[[str], object] = print,
    **sections: Mapping[str, Any],
) -> Result:
    """Pretrain the same encoder with every method, measure all of them by one protocol, and say which to use.

    Args:
        source: a folder of images (class folders, train/ and test/, or no labels), or the name of a public data set.
        methods: by entry-point name.
        controls: None takes `random` and `pixels`, and `supervised` where images have one class each.
        images: seen in each pretraining, the budget.
        seeds: of pretraining; with one the answer is about encoders, with three or more about methods.
        folder: where results are kept; a call with the same folder goes on where one was stopped, and trains no
            encoder again whose settings and images are the same. None: a new folder for temporary files.
        tell: takes a line about each step.
        sections: further sections of params.yaml, as `prepare={"image_size": 64}`, `encoder={"name": "resnet18"}`.

    Raises:
        UserError: an argument is wrong, the images cannot be used, or a training does not fit them.
    """
    params = _parameters(source, methods, controls, images, seeds, sections)
    entries = take_stock(params, {})
    demands.refuse(demands.of_parameters(params, entries))
    place = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="pretextbench-"))
    tell(f"Results: {place}")
    card = prepare(params.prepare, place / layout.IMAGES, place / layout.LABELS, near_duplicates)
    notes = place / layout.LABELS / NOTES  # how labels were understood
    tell("\n".join([card.summary(), *(notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else [])]))
    data = Prepared(place / layout.IMAGES, place / layout.LABELS)
    if controls is None and data.task == "class" and len(data.classes) > 1:
        params = _with_controls(params, (*params.compare.controls, "supervised"))
        entries = take_stock(params, {})
    make_views(data, params.augment, place / layout.VIEWS)
    runs = [(name, seed) for name in entries for seed in params.compare.seeds]
    for number, (name, seed) in enumerate(runs, 1):
        tell(f"{number} of {len(runs)}: {name}, seed {seed}")
        _train(_job(name, seed, entries[name], params, data), place, tell)
        _judge(name, seed, params, data, place)
    return _ranked(params, [f"{name}-{seed}" for name, seed in runs], place)


def _parameters(
    source: str | Path,
    methods: Sequence[str],
    controls: Sequence[str] | None,
    images: int,
    seeds: Sequence[int],
    sections: Mapping[str, Mapping[str, Any]],
) -> Params:
    """The arguments as parameters of a project, checked like those.

    Raises:
        UserError: an argument or a section has a mistake.
    """
    raw: dict[str, dict[str, Any]] = {name: dict(section) for name, section in sections.items()}
    if source in SOURCES:
        prepared: dict[str, Any] = {"source": source, "path": None}
    else:
        prepared = {"source": "folder", "path": str(Path(source).expanduser())}
    raw["prepare"] = prepared | raw.get("prepare", {})
    raw["pretrain"] = {"images": images} | raw.get("pretrain", {})
    rows = {"methods": list(methods), "controls": list(("random", "pixels") if controls is None else controls)}
    raw["compare"] = {**rows, "seeds": list(seeds)} | raw.get("compare", {})
    params = parse(Params, raw, ORIGIN)
    if params.tune.trials or params.compare.budgets or params.compare.references or params.transfer.source:
        raise UserError(
            f"{ORIGIN}: tune.trials, compare.budgets, compare.references and transfer are stages of the pipeline. "
            "Leave them out, or make a project: `pretextbench init`."
        )
    return params


def _with_controls(params: Params, controls: Sequence[str]) -> Params:
    return params.model_copy(update={"compare": params.compare.model_copy(update={"controls": tuple(controls)})})


def _job(name: str, seed: int, entry: Entry, params: Params, data: Prepared) -> Job:
    row = row_of(name, params)
    plugin, method = registry.find(row.method), registry.load(row.method)
    own = parse(method.Params, entry["params"], ORIGIN, f"methods.{name}")
    method.requires.check(name, data.image_size, colour=data.colour)
    recipe, derived = method.recipe(own, data.image_size), derive(method, own, data, params.augment)
    label = "" if name == plugin.name else name
    return Job(plugin, entry["source_hash"], method, own, row.encoder, params.pretrain, recipe, derived, seed, label)


def _train(job: Job, place: Path, tell: Callable[[str], object]) -> None:
    name = job.row or job.plugin.name
    labels = place / layout.LABELS if job.method.uses_labels else None
    data = Prepared(place / layout.IMAGES, labels)
    output, scratch = place / layout.pretrained(name, job.seed), place / layout.training_scratch()
    before = checkpoint.finished(scratch / f"{name}-{job.seed}")
    card = pretrain(job, data, output, scratch, show=False, tell=tell)
    kept = checkpoint.finished(scratch / f"{name}-{job.seed}") == before
    if card.images_seen:
        tell(f"  {'kept' if kept else 'trained'}: {card.images_seen:,} images in {card.seconds:.0f} s")


def _judge(name: str, seed: int, params: Params, data: Prepared, place: Path) -> None:
    """Evaluate one encoder and write the result."""
    source, target = place / layout.pretrained(name, seed), place / layout.evaluated(name, seed)
    encoder, card = encoder_folder.load(source)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept = Snapshots(encoder_folder.snapshots(source), card.images_seen)
    views = Views(place / layout.VIEWS, data)
    subject = Subject(
        encoder.to(device), params.evaluate, device, views, snapshots=kept, untrained=card.method == RANDOM
    )
    result = evaluate(subject, data)
    save(result, target, source)


def _ranked(params: Params, names: Sequence[str], place: Path) -> Result:
    runs = read(place / layout.EVALUATED, names)
    comparison = rank(runs, params.compare, params.compare.seed)
    shown, today = Prepared(place / layout.IMAGES), date.today()
    write(comparison, runs, place / layout.REPORTS, Appendix(recipe=dict(_recipe(params)), images=shown, day=today))
    return Result(place)


def _recipe(params: Params) -> Iterator[tuple[str, str]]:
    """How to get the result again, for the report."""
    source = params.prepare
    yield "images", f"{Path(source.path).name} ({source.path})" if source.path else source.source
    yield "versions", "\n".join(f"{name} {version(name)}" for name in ("pretextbench", "torch", "kornia"))
    yield "parameters", params.model_dump_json(indent=2, exclude_defaults=True)
