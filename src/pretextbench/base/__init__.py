"""Nouns without a domain: files, seeds, sections of parameters, pictures, switches of other tools."""
