"""Vectors as embeddings are: in clusters of uneven size, on a surface of few dimensions within many.

A point is its cluster's centre and a step from it, both in 32 dimensions and normally distributed, the step 0.6 times
as far. Each of the 1536 coordinates is a weighted sum of two of those 32, plus noise of a twentieth. Cluster k is
chosen with weight 1/k. In noise that is the same in every direction nothing is near: a search of it says nothing.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from itertools import accumulate

DIMENSIONS = 1536
LATENT = 32
CLUSTERS = 500
STEP = 0.6
NOISE = 0.05


class Cloud:
    """The same points for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = random.Random(seed)
        self._centres = [[chance.gauss(0, 1) for _ in range(LATENT)] for _ in range(CLUSTERS)]
        self._weights = list(accumulate(1 / (k + 1) for k in range(CLUSTERS)))
        self._mixed = [
            (chance.randrange(LATENT), chance.gauss(0, 1), chance.randrange(LATENT), chance.gauss(0, 1))
            for _ in range(DIMENSIONS)
        ]
        self._noise = [chance.gauss(0, NOISE) for _ in range(40 * DIMENSIONS)]

    def points(self, count: int) -> Iterator[array[float]]:
        chance = self._chance
        for _ in range(count):
            (centre,) = chance.choices(self._centres, cum_weights=self._weights)
            at = [place + chance.gauss(0, STEP) for place in centre]
            shift = chance.randrange(39 * DIMENSIONS)
            noise = self._noise[shift : shift + DIMENSIONS]
            mixed = zip(self._mixed, noise)
            yield array("f", [at[one] * a + at[other] * b + more for (one, a, other, b), more in mixed])
