"""What MkDocs does not know of this repository: sources are named, not linked, and guides are found before the API."""

import re
from typing import Any

from mkdocs.structure.pages import Page

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?:\.\./)*((?:src|stages|pipelines|plugins|tests|benchmarks|params)[^)]*)\)")
# In the search, where a word in a title counts 1000; others: 1.
WEIGHTS = {"reference/": 0.0005, "fidelity.md": 0.05, "results.md": 0.05}


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Files outside of docs/ have no page: their names are shown as code. The search learns the weight of the page."""
    weights = [weight for start, weight in WEIGHTS.items() if page.file.src_uri.startswith(start)]
    page.meta["search"] = {"boost": weights[0] if weights else 1}
    return OUTSIDE.sub(lambda link: link[1] if "`" in link[1] else f"{link[1]} (`{link[2]}`)", markdown)
