"""Speed and fidelity, measured: ratios in alternation, never absolute times on shared machines."""
