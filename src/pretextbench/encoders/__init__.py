"""Architectures of encoders."""
