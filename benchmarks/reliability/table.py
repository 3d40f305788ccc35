"""Markdown tables, ready to be pasted."""

from collections.abc import Sequence


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table under its title; columns of numbers are aligned to the right."""
    right = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    print(f"\n**{title}**\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("--:" if r else "---" for r in right) + "|")
    for row in rows:
        print("| " + " | ".join(text(cell) for cell in row) + " |", flush=True)


def text(cell: object) -> str:
    """A cell: one decimal is enough for seconds."""
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell).replace("|", "\\|")
