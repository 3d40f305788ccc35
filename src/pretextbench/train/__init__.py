"""The one loop that trains every method: budget, batches, optimizers, checkpoints, controls. The home of Fabric."""
