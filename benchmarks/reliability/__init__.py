"""Faults a comparison survives: kills, stages that end together, full disks, two people. See docs/reliability.md."""
