"""Stage `audit`: the prepared images -> which images of test and val another split also holds, and how many.

python -m stages audit
"""

from pretextbench.audit.duplicates import audit, save, sentence
from pretextbench.data.prepared import FILES, Prepared
from pretextbench.project import layout


def main() -> None:
    """Compare the splits, write the pairs and print their number."""
    data, files = Prepared(layout.IMAGES), layout.LABELS / FILES
    names = files.read_text(encoding="utf-8").splitlines() if files.exists() else None
    pairs = audit(data, names)
    save(pairs, data, layout.AUDIT)
    print(sentence(pairs))
