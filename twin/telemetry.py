"""Telemetry: measured rows of a plant on its sample grid, in engineering units.

Rows lie a sample period apart inside a run; a gap longer than can be bridged starts a new run, and
no window ever crosses it. Missing values are NaN here; `windows` decides how they are held and masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from twin.errors import TelemetryError
from twin.plant import Plant, Role
from twin.vector import fill

FASTER, NEARLY = 2, 0.95  # values a period, on average, from which they are averaged; nearly so many do
BRIDGE = 3  # rows: a hole this long or shorter is filled with missing rows; a longer one ends the run


@dataclass(frozen=True)
class Telemetry:
    """Rows of one plant.

    Attributes:
        plant: whose tags the columns are.
        times: (N,) datetime64[ns], UTC, strictly increasing.
        values: (N, tags) float64 in the order of `plant.tags`; NaN is missing.
        run: (N,) int; rows of one run are exactly a sample period apart.
    """

    plant: Plant
    times: np.ndarray
    values: np.ndarray
    run: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.times)
        if self.values.shape != (n, len(self.plant.tags)) or self.run.shape != (n,):
            raise TelemetryError(f"{n} times, values of shape {self.values.shape}, {len(self.plant.tags)} tags")

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def at(self) -> pd.Timestamp:
        """The time of the last row."""
        if not len(self):
            raise TelemetryError("no telemetry")
        return pd.Timestamp(self.times[-1], tz="UTC")

    @cached_property
    def y(self) -> np.ndarray:
        """(N, CVs) in the order of `plant.cvs`."""
        return self.values[:, self.plant.columns(self.plant.cvs)]

    @cached_property
    def w(self) -> np.ndarray:
        """(N, MVs + DVs) in the order of `plant.inputs`."""
        return self.values[:, self.plant.columns(self.plant.inputs)]

    def rows(self, index: slice | np.ndarray) -> Telemetry:
        """Some of the rows."""
        return Telemetry(self.plant, self.times[index], self.values[index], self.run[index])

    def last_run(self, rows: int) -> Telemetry:
        """The last `rows` rows of the last run (fewer where it is shorter)."""
        if not len(self):
            return self
        start = int(np.searchsorted(self.run, self.run[-1], side="left"))
        return self.rows(slice(max(start, len(self) - rows), None))

    def between(self, start: pd.Timestamp | None, end: pd.Timestamp | None) -> Telemetry:
        """The rows with start <= time <= end."""
        keep = np.ones(len(self), bool)
        if start is not None:
            keep &= self.times >= np.datetime64(start.tz_convert("UTC").tz_localize(None), "ns")
        if end is not None:
            keep &= self.times <= np.datetime64(end.tz_convert("UTC").tz_localize(None), "ns")
        return self.rows(keep)

    def frame(self) -> pd.DataFrame:
        """A frame with a UTC index `time` and a column a tag."""
        index = pd.DatetimeIndex(self.times, tz="UTC", name="time")
        return pd.DataFrame(self.values, index=index, columns=list(self.plant.names))

    @classmethod
    def empty(cls, plant: Plant) -> Telemetry:
        """No rows."""
        return cls(plant, np.empty(0, "datetime64[ns]"), np.empty((0, len(plant.tags))), np.empty(0, np.int64))

    @classmethod
    def from_frame(cls, plant: Plant, frame: pd.DataFrame) -> Telemetry:
        """Put measured rows on the plant's grid.

        Args:
            frame: a time-zone-aware DatetimeIndex and a column a tag (absent tags are missing).

        Each run starts its own grid at its first row and every row goes to the nearest grid point, so that
        jitter of less than half a period changes nothing; of rows that fall on one grid point the last value
        that is not missing wins. Holes of up to `BRIDGE` rows become missing rows.

        A CV or DV that is measured at least `FASTER` times a period is averaged over it instead, which takes noise and
        what no row could show out of it; an MV keeps the value in force.

        Raises:
            TelemetryError: the index has no time zone, or a column is no tag.
        """
        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            raise TelemetryError("telemetry needs a time-zone-aware time index")
        unknown = [c for c in frame.columns if c not in plant.names]
        if unknown:
            plant.tag(str(unknown[0]))
        frame = frame.reindex(columns=list(plant.names)).sort_index(kind="stable")
        stamps = pd.DatetimeIndex(frame.index).tz_convert("UTC").as_unit("ns").asi8
        values = frame.to_numpy(np.float64)
        return calculated(_on_grid(plant, stamps, np.where(np.isfinite(values), values, np.nan)))


def sources(plant: Plant, names: Sequence[str]) -> list[str]:
    """The measured tags that some tags, calculated ones among them, are told by."""
    wanted = plant.formulas.sources if set(names) & set(plant.formulas.by_tag) else ()
    return list(dict.fromkeys([*(name for name in names if name in plant.measured), *wanted]))


def with_calculated(plant: Plant, frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rows as they were measured, off the grid, with calculated tags: `names` of a frame of their `sources`.

    Tags that are measured at other moments hold their last value.
    """
    if not set(names) & set(plant.formulas.by_tag):
        return frame[list(names)]
    held = frame.ffill().where(frame.notna().any(axis=1), np.nan)
    columns = {name: held[name].to_numpy(np.float64) for name in plant.formulas.sources}
    return frame.assign(**plant.formulas.compute(columns))[list(names)]


def calculated(telemetry: Telemetry) -> Telemetry:
    """The rows with their calculated tags and the components of vector tags; what is stored under their names is no
    measurement of theirs."""
    plant = telemetry.plant
    for branch in plant.branches:
        frames = telemetry.values[:, plant.vectors[branch.vector]]
        components = branch.read(frames)
        if branch.modelled:
            telemetry.values[:, [plant.column(name) for name in branch.names]] = components
        for name, inferred in zip(branch.told, branch.infer(components).T if branch.told else (), strict=True):
            column = plant.column(name)
            telemetry.values[:, column] = fill(telemetry.values[:, column], inferred)
    if not plant.formulas.by_tag:
        return telemetry
    columns = dict(zip(plant.names, telemetry.values.T, strict=True))
    for name, values in plant.formulas.compute(columns).items():
        telemetry.values[:, plant.column(name)] = values
    return telemetry


def _on_grid(plant: Plant, stamps: np.ndarray, values: np.ndarray) -> Telemetry:
    """Rows sorted by time (ns), to runs on a grid."""
    if not len(stamps):
        return Telemetry.empty(plant)
    period = round(plant.sample_period_s * 1e9)
    starts = np.flatnonzero(np.diff(stamps, prepend=stamps[0]) > (BRIDGE + 1.5) * period)
    bounds = np.unique(np.r_[0, starts, len(stamps)])
    averaged = _faster(plant, stamps, values, period)
    times, rows, runs = [], [], []
    for number, (a, b) in enumerate(pairwise(bounds)):
        place = _places(stamps[a:b], period)
        grid = np.full((place[-1] + 1, values.shape[1]), np.nan)
        for column in range(values.shape[1]):
            known = ~np.isnan(values[a:b, column])
            grid[place[known], column] = values[a:b, column][known]
            if averaged[column]:
                points, means = _means(place[known], values[a:b, column][known])
                grid[points, column] = means
        times.append(stamps[a] + period * np.arange(len(grid)))
        rows.append(grid)
        runs.append(np.full(len(grid), number, np.int64))
    return Telemetry(plant, np.concatenate(times).view("datetime64[ns]"), np.concatenate(rows), np.concatenate(runs))


def _places(stamps: np.ndarray, period: int) -> np.ndarray:
    """The nearest grid point of each stamp (ns), from the first on; of two that are as near the later, so that every
    point has as many of evenly spaced stamps."""
    places: np.ndarray = (stamps - stamps[0] + period // 2) // period
    return places


def _means(place: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grid points (sorted) that have values, and the mean at each: where all are the same it is the value to the
    last bit, so that a frozen sensor stays one."""
    points, starts = np.unique(place, return_index=True)
    if not len(points):
        return points, values
    count = np.diff(np.r_[starts, len(place)])
    means = np.add.reduceat(values, starts) / count
    return points, np.clip(means, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts))


def _faster(plant: Plant, stamps: np.ndarray, values: np.ndarray, period: int) -> np.ndarray:
    """(tags,) bool: the CVs and DVs that are measured `FASTER` times a period (ns) or more, on average; a hole counts
    as one period, and clocks may jitter."""
    measured = np.array([tag.role is not Role.MV for tag in plant.tags])
    for column in np.flatnonzero(measured):
        steps = np.diff(stamps[~np.isnan(values[:, column])])
        measured[column] = len(steps) >= NEARLY * FASTER * np.minimum(steps, period).sum() / period
    return measured
