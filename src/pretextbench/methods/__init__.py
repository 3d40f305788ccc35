"""Methods that the library itself brings: the controls of a comparison."""
