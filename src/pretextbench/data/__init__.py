"""Anyone's images in, one prepared data set out: a memory-mapped uint8 array, splits, statistics, labels apart."""
