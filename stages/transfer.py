"""Stage `transfer`: the second data set, which evaluation alone looks at -> data/transfer; without one, a note.

The images folder and the labels folder in it are as those of the stage `prepare`.
"""

from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.source_params import LABELS_OF_FOLDERS
from pretextbench.data.prepare import prepare
from pretextbench.project import layout
from pretextbench.project.settings import parameters


def main() -> None:
    """Prepare the data set that `transfer` in params.yaml names."""
    params = parameters()
    with whole_folder(layout.TRANSFER) as out:
        if params.transfer.source is None:
            write_whole(out / "none.txt", b"params.yaml names no second data set under `transfer`.\n")
            print("no second data set is named")
            return
        wanted = params.prepare.model_copy(update={**LABELS_OF_FOLDERS, **params.transfer.model_dump()})
        card = prepare(wanted, out / layout.IMAGES.name, out / layout.LABELS.name)
    print(card.summary())
