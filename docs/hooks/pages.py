"""What MkDocs does not know of this repository: the README is the first page, and sources are named, not linked."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?:\.\./)*((?:src|stages|pipelines|plugins|tests|benchmarks|params)[^)]*)\)")
ROOT = Path(__file__).parents[2]


# The theme's switch of modes looks for the two styles of highlight.js, which are left out, and would stop without them.
STYLES = '<link id="hljs-light"><link id="hljs-dark">'


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the README as the first page; its links to docs/ become links to pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)]*)\)", _page_or_name, text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Files outside of docs/ have no page: their names are shown as code."""
    return OUTSIDE.sub(lambda link: link[1] if "`" in link[1] else f"{link[1]} (`{link[2]}`)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """The page with the elements that the theme's scripts expect."""
    return output.replace("</head>", f"{STYLES}</head>", 1)


def _page_or_name(link: re.Match[str]) -> str:
    return link[0] if (ROOT / "docs" / link[2]).is_file() else f"{link[1]} (`{link[2]}`)"
