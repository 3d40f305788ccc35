"""Preparation of images: one memory-mapped uint8 array with splits and statistics, and the labels in another folder."""
