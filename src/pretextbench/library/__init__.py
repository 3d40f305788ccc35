"""The library for people in a notebook or a script: compare in this process, open what is there, use an encoder."""
