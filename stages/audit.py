"""Stage `audit`: the prepared images -> which images and groups of test and val another split also has, and how many.

python -m stages audit
"""

from pretextbench.audit.duplicates import audit, save, sentence
from pretextbench.audit.shared_groups import shared
from pretextbench.data.prepared import FILES, GROUP_NAMES, Prepared
from pretextbench.project import layout


def main() -> None:
    """Compare the splits, write the pairs and print their number."""
    data, files = Prepared(layout.IMAGES, layout.LABELS), layout.LABELS / FILES
    names = files.read_text(encoding="utf-8").splitlines() if files.exists() else None
    groups = tuple(shared(data, layout.LABELS / GROUP_NAMES)) if layout.LABELS.is_dir() else ()
    result = audit(data, names).model_copy(update={"groups": groups})
    save(result, data, layout.AUDIT)
    print(sentence(result))
