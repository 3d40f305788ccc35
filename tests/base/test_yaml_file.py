"""YAML files: read as DVC reads them, and refused in one line where they hold what no parameter can be."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pretextbench.base.yaml_file import read_yaml
from pretextbench.errors import UserError
from pretextbench.params import load


@pytest.mark.parametrize(
    "value", ["017", "0o17", "1_000", "1e-3", "1E5", "12:30:45", "1:30.5", "off", "YES", "~", "0x1F"]
)
def test_a_value_is_what_dvc_takes_it_for(value: str) -> None:
    text = f"a: {value}"
    assert read_yaml(text, "it") == YAML(typ="safe").load(text)  # as dvc.utils.serialize does


@pytest.mark.parametrize(
    ("text", "value"), [("017", 17), ("12:30:45", "12:30:45"), ("off", "off"), ("1e-3", 1e-3), ("no", "no")]
)
def test_values_that_yaml_1_1_takes_for_others(text: str, value: object) -> None:
    assert read_yaml(f"a: {text}", "it") == {"a": value}


def test_words_for_true_and_false_are_words_where_words_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("compare: {name: off}\nprepare: {source: folder, path: yes}\npretrain: {compile: yes}\n")
    params = load(file)
    assert (params.compare.name, params.prepare.path, params.pretrain.compile) == ("off", "yes", True)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("\ufeffencoder: {width: 8}\r\n".encode())
    assert load(tmp_path / "params.yaml").encoder.width == 8


def test_anchors_and_merges_are_filled_in() -> None:
    text = "simclr: &a {optimizer: {lr: 0.1}}\nrotation: {<<: *a, padding: 2}\n"
    assert read_yaml(text, "it")["rotation"] == {"optimizer": {"lr": 0.1}, "padding": 2}


def bomb(levels: int) -> str:
    """Ten aliases of ten aliases of ...: a few hundred characters that stand for 10**levels values."""
    anchors = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *anchors])


def merge_bomb(levels: int) -> str:
    """The same with merges, which are filled in while the file is read."""
    anchors = [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, levels)]
    return "\n".join(["a0: &a0 {x: 1}", *anchors])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "line 1, column 6: while parsing a flow sequence, expected ',' or ']'"),
        ("\tprepare: 1", "line 1, column 1: while scanning for the next token, found character"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("y: *a", "found undefined alias 'a'"),
        ("prepare: 2001-99-99", "line 1: 2001-99-99 is read as a date. Put it into quotes."),
        ("\nprepare: {path: 2001-01-01}", "line 2: 2001-01-01 is read as a date"),
        ("prepare: !!python/object/apply:os.system ['true']", "line 1: the tag 'python/object/apply:os.system' is not"),
        ("methods: {simclr: !!set {a}}", "the tag 'set' is not allowed. Allowed: text, numbers,"),
        ("methods: {simclr: {a: !!binary aGk=}}", "the tag 'binary' is not allowed"),
        ("methods: {simclr: !mine {}}", "the tag '!mine' is not allowed"),
        ("? [a]\n: 1", "line 1: a key must be one word, found a list or a mapping."),
        ("prepare: \x00", "not allowed"),
        ('prepare: {path: "a\\0b"}', r"line 1: the character '\x00' can be in no path and in no name."),
        ('"\\ud800": 1', r"the character '\ud800'"),
        ("[" * 1000, "nested deeper than 32 levels"),
        ("methods: " + "{a: " * 40 + "1" + "}" * 40, "more than 32 levels"),
        ("methods: &m {simclr: *m}", "line 1: an anchor that holds itself"),
        ("methods: {simclr: &m [*m]}", "an anchor that holds itself"),
        (bomb(30), "or 10,000 values"),
        (merge_bomb(30), "or 10,000 values"),
        ("prepare: {seed: " + "9" * 5000 + "}", "line 1: a number of 5,000 digits."),
        ("%YAML 1.1\n---\npretrain: {compile: off}", "the directive '%YAML 1.1' is not allowed"),
        ("encoder: {width: 8}\nprepare: {}\nencoder: {name: resnet18}\n", "line 1: given twice: encoder."),
        ("encoder: {width: 8, 'width': 9}", "given twice: width."),
        ("a: b: \u202e", "mapping values are not allowed here"),
    ],
)
def test_what_is_not_yaml_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "params.yaml")
    assert str(caught.value).startswith("params.yaml is not valid YAML: ")
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(UserError, match=r"it has 300,000 characters; a file of parameters has at most"):
        read_yaml("#" * 300_000, "it")


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"prepare: \xff\xfe")
    with pytest.raises(UserError, match=r"params.yaml is not valid YAML: it is not UTF-8 text"):
        load(tmp_path / "params.yaml")
