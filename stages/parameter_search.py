"""The work of the stage `tune` where a method is tuned: its search space, its trials, their result and record."""

from collections.abc import Callable

import numpy as np

from pretextbench.base.files import whole_folder
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared
from pretextbench.methods.derived import derive
from pretextbench.params import Params
from pretextbench.project import layout, search_space
from pretextbench.project.search_space import Setting
from pretextbench.project.settings import parameters
from pretextbench.project.variant import encoder_of, row_of
from pretextbench.track.tuning_records import record_tune
from pretextbench.train.budget import Job
from pretextbench.tune import halving, result
from pretextbench.tune.result import Tuning
from pretextbench.tune.trials import Trials, untunable
from stages import inputs
from stages.arguments import untuned


def tune(name: str) -> None:
    """Search the parameters of one method and write what was chosen."""
    params, data = parameters(), Prepared(layout.IMAGES, layout.LABELS)
    tuning = search(name, params, data)
    with whole_folder(layout.tuned(name)) as out:
        result.write(tuning, out)
    inputs.check()
    record_tune(name, layout.tuned(name), layout.root(), layout.IMAGES, layout.experiment(params))
    chosen = ", ".join(f"{key} {value}" for key, value in tuning.chosen.items()) or "its own parameters"
    print(f"{name}: {chosen}{f' ({tuning.kept})' if tuning.kept else ''}")


def search(name: str, params: Params, data: Prepared) -> Tuning:
    """All trials of a method, or the reason why there are none."""
    entrant, limits, raw = untuned(name), params.tune, row_of(name, params).own
    images = len(data.images("train"))
    searched = search_space.space(entrant.method, entrant.params, search_space.fixed(raw), params, images)
    if not searched:
        return Tuning(reason=f"methods.{name} in params.yaml sets all that is searched")
    if reason := untunable(data):
        return Tuning(reason=reason)
    first = search_space.current(entrant.params, searched, params.pretrain)
    draws: np.random.Generator = Seed(limits.seed).numpy("tune", entrant.plugin.name)  # rows of a method: the same ones
    settings = search_space.settings(searched, first, limits.trials, draws)
    measure = Trials(job(name, params, data), data, layout.tuning_scratch(name), print)
    plan = halving.rounds(limits.trials, limits.images, limits.eta)
    return Tuning(halving.halve(settings, plan, measure), images=len(measure.queries[1]))


def job(name: str, params: Params, data: Prepared) -> Callable[[Setting, int], Job]:
    """A function that makes the training of a setting on so many images."""
    entrant = untuned(name)
    encoder = encoder_of(entrant.from_scratch, params.encoder)

    def training(setting: Setting, images: int) -> Job:
        own, limits = search_space.tuned(entrant.params, setting), search_space.for_trials(params.pretrain, images)
        recipe = entrant.method.recipe(own, data.image_size)
        derived = derive(entrant.method, own, data, params.augment)
        row = "" if name == entrant.plugin.name else name
        return Job(*entrant[:3], own, encoder, limits, recipe, derived, params.tune.seed, row)

    return training
