"""A new pretext method: the files of a complete distribution, written from templates, whole or not at all."""

import keyword
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import jinja2

from pretextbench import registry
from pretextbench.base.files import whole_folder
from pretextbench.errors import UserError
from pretextbench.params import NAME

TEMPLATES = Path(__file__).parent
LONGEST = 40  # characters of a name: it is a folder, a DVC stage and a column of the leaderboard
PREFIX = "pretext-"
TAKEN = {  # names that the templates use themselves
    *("Batch", "Data", "Encoder", "EncoderParams", "F", "Field", "HorizontalFlip", "Loss", "Mapping", "MethodParams"),
    *("OptimizerParams", "PairMethod", "PairParams", "Params", "Picture", "PretextMethod", "RandomResizedCrop"),
    *("Recipe", "Tensor"),
}


def checked(name: str) -> str:
    """The name, if a new method can have it.

    Raises:
        UserError: it has other characters than allowed, is too long, a word of Python, or taken.
    """
    allowed = f"Use lower-case letters, digits and single dashes, at most {LONGEST}, such as 'mean-colour'."
    if name.startswith(PREFIX):
        raise UserError(f"A method is named without {PREFIX!r}: that is its distribution. Try {name[len(PREFIX) :]!r}.")
    if not re.fullmatch(NAME, name) or len(name) > LONGEST:
        raise UserError(f"{name!r} cannot be the name of a method: it becomes a folder and a YAML key. {allowed}")
    if keyword.iskeyword(name) or keyword.iskeyword(name.title()):
        raise UserError(f"{name!r} is a word of Python, and a class cannot be called so. Choose another name.")
    if name in registry.available():
        raise UserError(f"There is a method {name!r} already: {registry.find(name)}. Choose another name.")
    try:
        distribution(PREFIX + name)
    except PackageNotFoundError:
        return name
    raise UserError(f"A distribution {PREFIX + name!r} is installed already. Choose another name, or uninstall it.")


def class_name(name: str) -> str:
    """mean-colour -> MeanColour."""
    joined = "".join(part.capitalize() for part in name.split("-"))
    return f"{joined}Method" if joined in TAKEN else joined


def write(name: str, folder: Path, two_views: bool = False) -> list[Path]:
    """Write the distribution of a new method called `name` as `folder`; returns the files.

    Args:
        name: of the method.
        folder: is created.
        two_views: the method compares two views of each image; otherwise it predicts a target from one view.

    Raises:
        UserError: the name cannot be used, `folder` exists, or cannot be written; nothing is then left behind.
    """
    module = f"pretext_{checked(name).replace('-', '_')}"
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists already. Choose another name or place, or remove it.")
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # TOML, Python and Markdown, filled with a checked name
    )
    facts: dict[str, str | bool] = {"name": name, "distribution": PREFIX + name, "module": module}
    facts |= {"Class": class_name(name), "two_views": two_views}
    targets, kind = {"pyproject.toml": "pyproject.toml", "README.md": "README.md"}, "two_views_" if two_views else ""
    targets |= {f"{kind}module.py": f"{module}.py"}
    targets |= {f"{kind}test.py": f"test_{module.removeprefix('pretext_')}.py"}
    with whole_folder(folder) as scratch:
        for template, target in targets.items():
            text = templates.get_template(f"{template}.j2").render(facts)
            (scratch / target).write_text(text, encoding="utf-8")
    return [folder / target for target in targets.values()]
