"""Leaks between the splits: which test images are also in train, exactly or nearly. The stage `audit`."""
