"""The rows: one module each, with `measure(rounds)`, which yields what it has measured as it goes."""
