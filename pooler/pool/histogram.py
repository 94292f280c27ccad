"""How long things took: log-linear histograms, from which percentiles come.

Up to 32 µs a bucket is one microsecond wide; above, each doubling is cut into 16 buckets, so a percentile is
off by 1/32 at most. What is longer than the last bucket (19 hours) counts there. Histograms with such buckets
can be added up and taken from each other: several pools, or several processes, or a period.
"""

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

from mypy_extensions import i64

EXACT: Final = 32
"""Microseconds below which a bucket holds one value."""
STEPS: Final = 16
"""Buckets of each doubling from there on."""
BUCKETS: Final = 32 * STEPS + STEPS
CARRY: Final = 256
"""Integers below that are there already in CPython."""
GROWTH: Final = 2 * STEPS
"""Buckets that are made at once: a pool has those up to the slowest that it has seen."""
TABLED: Final = EXACT << 8
"""Microseconds below which the bucket is looked up."""


def _bucket_of(us: int) -> int:
    octave = max(0, us.bit_length() - EXACT.bit_length() + 1)
    return octave * STEPS + (us >> octave)


_PLACES: Final = bytes(_bucket_of(us) for us in range(TABLED))


def bucket(us: i64) -> i64:
    """Where a time in µs counts."""
    if us < TABLED:
        return _PLACES[us]
    octave: i64 = 0
    while us >= TABLED:
        us >>= 8
        octave += 8
    place = octave * STEPS + _PLACES[us]
    return place if place < BUCKETS else BUCKETS - 1


def middle(place: int) -> int:
    """The µs that stand for a bucket: half-way through it."""
    if place < EXACT:
        return place
    octave = place // STEPS - 1
    lowest = (place - octave * STEPS) << octave
    return lowest + ((1 << octave) >> 1)


class Distribution(NamedTuple):
    """A histogram as it was at one moment, or the sum or the difference of several. Immutable."""

    counts: "array[int]"
    highest: int
    """The longest of all, in µs."""

    @property
    def samples(self) -> int:
        """How many times were recorded."""
        return sum(self.counts)

    def minus(self, earlier: "Distribution", highest: int) -> "Distribution":
        """What came after `earlier`, of which the longest took `highest`."""
        counts = array("q", self.counts)
        for place, count in enumerate(earlier.counts):
            counts[place] -= count
        return Distribution(counts, highest)

    def percentile(self, percent: float) -> int:
        """The time in µs that so many percent stayed below, or took; 0 if there is none."""
        wanted = max(1, -int(-self.samples * percent // 100))
        seen = 0
        for place, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return min(middle(place), self.highest)
        return 0


def merge(distributions: Iterable[Distribution]) -> Distribution:
    """All of them as one."""
    counts: array[int] = array("q")
    highest = 0
    for found in distributions:
        counts.extend([0] * (len(found.counts) - len(counts)))
        for place, count in enumerate(found.counts):
            counts[place] += count
        highest = max(highest, found.highest)
    return Distribution(counts, highest)


class Histogram:
    """The times of one kind in one pool, written on the data path.

    `rotate` is called when a period is over; `recent` is what came since the rotation before the last one, as
    for the averages of SHOW STATS.
    """

    __slots__ = (
        "_high",
        "_highest",
        "_low",
        "_newer",
        "_newer_highest",
        "_older",
        "_older_highest",
        "_unchanged",
    )

    _low: list[int]
    """Below CARRY, so that no integer is made or kept for a count."""
    _high: "array[int]"
    """The rest, in steps of CARRY."""
    _unchanged: bool
    """Since the last rotation; most pools are idle most of the time."""
    _highest: i64
    _newer: Distribution
    _older: Distribution
    _newer_highest: i64
    """The longest since the last rotation."""
    _older_highest: i64
    """The longest between the last rotation and the one before."""

    def __init__(self) -> None:
        self._low = []
        self._high = array("q")
        self._unchanged = True
        self._highest = 0
        self._newer_highest = 0
        self._older_highest = 0
        self._newer = self._older = Distribution(array("q"), 0)

    def record(self, ns: i64) -> None:
        """Something took so many nanoseconds."""
        us: i64 = ns // 1000
        self._unchanged = False
        if us > self._newer_highest:
            self._newer_highest = us
        place = bucket(us)
        if place >= len(self._low):
            self._grow(place)
        count: i64 = self._low[place] + 1
        if count == CARRY:
            self._high[int(place)] += CARRY
            count = 0
        self._low[place] = int(count)

    def _grow(self, place: i64) -> None:
        missing = -(-(int(place) + 1 - len(self._low)) // GROWTH) * GROWTH
        self._low.extend([0] * missing)
        self._high.extend([0] * missing)

    def reading(self) -> Distribution:
        """All since the start."""
        counts = [low + high for low, high in zip(self._low, self._high, strict=True)]
        size = "I" if max(counts, default=0) < 1 << 32 else "q"
        return Distribution(array(size, counts), int(max(self._highest, self._newer_highest)))

    def recent(self) -> Distribution:
        """What came since the rotation before the last one."""
        return self.reading().minus(self._older, int(max(self._newer_highest, self._older_highest)))

    def rotate(self) -> None:
        """A period is over."""
        self._older = self._newer
        if self._unchanged:
            self._older_highest = 0
            return
        self._unchanged = True
        self._newer = self.reading()
        self._highest = max(self._highest, self._newer_highest)
        self._older_highest = self._newer_highest
        self._newer_highest = 0
