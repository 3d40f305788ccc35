"""The pages of `--help`: no type beside an option that takes no value, and completion at the end of the page."""

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

COMPLETION = ("install_completion", "show_completion")  # named at the end of the page instead
FIRST_STEPS = """
**First steps**

* `pretextbench init --images ~/photos`: writes params.yaml for your images

* `pretextbench run`: trains, measures, compares, and ends with the answer

* `pretextbench report`: opens the answer

`pretextbench --install-completion` makes the shell complete commands and names of methods.
"""


class Command(TyperCommand):
    """A command whose page leaves out what Typer adds."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as the page shows them."""
        return _readable(super().get_params(ctx), ctx)


class Group(TyperGroup):
    """A group of commands, the same."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as the page shows them."""
        return _readable(super().get_params(ctx), ctx)


def _readable(params: list[Any], ctx: Any) -> list[Any]:
    """Leave out types: `<bool>` beside a switch reads as if it took a value, and an argument has its own name.

    The values of a choice come first in its help: as a type they would push the other columns together.
    """
    for param in params:
        if isinstance(param, TyperArgument):
            param.display_type_rich = lambda ctx: ""  # type: ignore[method-assign]
        elif isinstance(param, TyperOption):
            param.hidden = param.hidden or param.name in COMPLETION
            if param.is_flag:
                param.metavar = ""
            elif param.metavar is None and param.type_descriptor.is_ranged:
                param.metavar = "N"
            elif param.metavar is None and param.type_descriptor.is_choice:
                values = param.display_type(ctx).strip("<>").replace("|", ", ")
                text = param.help or ""
                param.metavar, param.help = "WORD", f"{values}: {text[:1].lower()}{text[1:]}"
    return params
