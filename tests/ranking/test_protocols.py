"""The spellings of a protocol, which files and seeds have had before: known answers."""

import pytest

from pretextbench.ranking.protocols import FEW, TUNED, Protocol


@pytest.mark.parametrize(
    ("protocol", "key", "column", "heading"),
    [
        (Protocol("linear"), "linear", "linear", "linear"),
        (Protocol("corrupted"), "corrupted", "corrupted", "corrupted"),
        (Protocol(FEW, "1%"), "1%", "linear_1pct", "1 % labels"),
        (Protocol(FEW, "5"), "5", "linear_5_per_class", "5 labels/class"),
        (Protocol(TUNED, "10%"), "finetune 10%", "finetune_10pct", "fine-tuned, 10 % labels"),
    ],
)
def test_a_protocol_has_one_spelling_for_each_place(protocol: Protocol, key: str, column: str, heading: str) -> None:
    assert (protocol, protocol.column, protocol.heading) == (key, column, heading)
    assert hash(protocol) == hash(key)


def test_predictions_lie_under_kind_and_budget() -> None:
    assert [Protocol(FEW, "1%").array, Protocol(TUNED, "1%").array] == ["budget.1%", "finetune.1%"]


def test_only_protocols_that_params_ask_for_are_extra() -> None:
    assert [Protocol(kind, "5").extra for kind in ("linear", FEW, TUNED, "transfer")] == [False, False, True, True]
