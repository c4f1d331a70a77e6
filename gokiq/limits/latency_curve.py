"""What one job more at once costs the others, from windows of measured latency. Pure."""

from __future__ import annotations

#: Weight of an older window in the slope, per newer one; what is believed before, and how firmly.
FADE, PRIOR_SLOPE, PRIOR_SPREAD = 0.85, 0.3, 0.5


class Curve:
    """How latency grows with the number of jobs: a fading regression of load on log(limit)."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def add(self, x: float, y: float, jobs: int) -> None:
        """`jobs` of a window at log(limit) `x` had the load `y`."""
        self.fade(FADE)
        self._weight += jobs
        self._x += jobs * x
        self._y += jobs * y
        self._xx += jobs * x * x
        self._xy += jobs * x * y

    def fade(self, by: float) -> None:
        """Let what was added weigh so much less."""
        self._weight *= by
        self._x *= by
        self._y *= by
        self._xx *= by
        self._xy *= by

    def slope(self, variance: float) -> float:
        """The power with which it grows; nearer to the prior the less is known, with `variance` of
        a single job's load.
        """
        mean = self._x / self._weight if self._weight else 0.0
        firmness = variance / PRIOR_SPREAD**2
        spread = max(0.0, self._xx - mean * self._x)
        return (self._xy - mean * self._y + firmness * PRIOR_SLOPE) / (spread + firmness)

    def at(self, x: float, slope: float) -> float:
        """Load expected at log(limit) `x`."""
        return (self._y + slope * (self._weight * x - self._x)) / self._weight
