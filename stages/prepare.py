"""Stage `prepare`: a source of images -> data/prepared/images and, apart from them, data/prepared/labels."""

from collections.abc import Sequence

from pretextbench import registry
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import load
from pretextbench.project import layout


def main() -> None:
    """Read params.yaml and write the prepared arrays."""
    params = load(layout.PARAMS)
    card = prepare(params.prepare, layout.IMAGES, layout.LABELS)
    print(card.summary())
    if not Prepared(layout.IMAGES, layout.LABELS).classes:
        no_control_wants_labels(params.compare.controls)


def no_control_wants_labels(controls: Sequence[str]) -> None:
    """Say now what the control's own stage would say after every method has been pretrained.

    Raises:
        UserError: the images have no labels, and a control of the comparison learns from labels.
    """
    wanting = [name for name in controls if registry.load(name).uses_labels]
    if wanting:
        kept = ", ".join(name for name in controls if name not in wanting)
        raise UserError(
            f"These images have no labels, and compare.controls lists {', '.join(wanting)}, which learns from labels. "
            f"Write `controls: [{kept}]` in params.yaml and run `dvc repro` again, or lay the images out in one folder "
            "per class. Without labels the methods are trained and compared by label-free measures."
        )
