"""A comparison in, words, tables and pictures out. The numbers come from `compare`."""
