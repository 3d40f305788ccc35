"""The one table of options, and its three readers."""

import inspect

from pretextbench.command.project import run
from pretextbench.project.run_options import OPTIONS, arguments, command_line

VALUES = {"only": "simclr", "methods": "a,b", "dry_run": True, "jobs": 3, "dask": "h:1", "retries": 0, "remote": "r"}


def test_what_is_written_from_the_table_is_read_by_the_flow() -> None:
    assert set(VALUES) == {option.name for option in OPTIONS}
    read = vars(arguments(command_line(VALUES, ["compare", "-odd"])))
    assert read == {**VALUES, "methods": ["a", "b"], "targets": ["compare", "-odd"]}


def test_defaults_are_not_written() -> None:
    assert command_line({option.name: option.default for option in OPTIONS}, []) == []


def test_the_command_has_the_options_of_the_table() -> None:
    parameters = inspect.signature(run).parameters
    assert list(parameters) == ["targets", *(option.name for option in OPTIONS)]
    assert all(parameters[option.name].default == option.default for option in OPTIONS)


def test_the_deployment_takes_options_of_the_table_with_their_defaults() -> None:
    from pipelines.deployment import comparison

    parameters = dict(inspect.signature(comparison.fn).parameters)
    del parameters["targets"]
    table = {option.name: option for option in OPTIONS}
    assert {name: parameter.default or None for name, parameter in parameters.items()} == {
        name: table[name].default for name in parameters
    }
