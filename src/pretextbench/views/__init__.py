"""Frozen test views, the same for every encoder: corrupted images, and pairs of views. The stage `views`."""
