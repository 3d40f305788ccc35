"""Stage `tune`: a method's parameters, chosen on validation -> runs/tune/METHOD; without trials, its own parameters.

python -m stages tune METHOD
"""

import json
from typing import Any

from pretextbench.base.files import whole_folder, write_whole
from pretextbench.project import layout
from stages.arguments import only_method


def main() -> None:
    """Search the parameters of one method, where params.yaml asks for it."""
    name = only_method("tune", __doc__)
    if not planned(name):
        with whole_folder(layout.tuned(name)) as out:
            write_whole(out / layout.CHOSEN, b"{}\n")
        print(f"{name}: not tuned, tune.trials is 0")
        return
    from stages.parameter_search import tune  # with torch, seconds which the stage does not need where nothing is tuned

    tune(name)


def planned(name: str) -> dict[str, Any]:
    """What the inventory planned for a method; empty where it is not tuned."""
    plan = json.loads(layout.PLAN.read_text()) if layout.PLAN.is_file() else {}
    return dict(plan.get(name, {}))
