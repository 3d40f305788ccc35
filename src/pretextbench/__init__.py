"""Which pretext task should you use on your images? The library: contract, budget, evaluation, statistics."""
