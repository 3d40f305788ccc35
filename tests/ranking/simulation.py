"""Comparisons of encoders whose accuracies are known, drawn fast, and what the statistics make of them."""

import numpy as np
from scipy.special import ndtri

from pretextbench.ranking.statistics import judge


def drawn(generator, truths, n):
    """Rows (S, 1, n) of 0 and 1, of encoders with the (M, S) accuracies `truths` on all images.

    An image is as hard for all: two encoders are right on the same images with a correlation of about one third.
    """
    level = ndtri(np.clip(truths, 0.001, 0.999)) * np.sqrt(2)
    latent = generator.standard_normal(n, np.float32) + generator.standard_normal((*truths.shape, n), np.float32)
    return [(row > -edge[:, None]).astype(float)[:, None] for row, edge in zip(latent, level, strict=True)]


def promises(times, spreads, seeds, n=200, accuracy=0.75, resamples=200, families=None, start=0):
    """Share of comparisons of equal methods with a false alarm; (times, M) whether each interval covers.

    Args:
        spreads: per method, points between its seeds. With one seed the claim is about encoders: an alarm is false
            where the difference is that of the wrong sign, and the interval is for the accuracy of the encoder.
    """
    alarms, covered = 0, np.zeros((times, len(spreads)))
    for k in range(times):
        generator = np.random.default_rng([start, k])
        truths = accuracy + np.array(spreads)[:, None] / 100 * generator.standard_normal((len(spreads), seeds))
        results = judge(drawn(generator, truths, n), 0.95, resamples, generator, families)
        truth = truths[:, 0] if seeds == 1 else np.full(len(spreads), accuracy)
        same_sign = results.difference * (truth[:, None] - truth) > 0
        alarms += bool((results.different & ~same_sign).any())
        covered[k] = (results.low <= truth) & (results.high >= truth)
    return alarms / times, covered
