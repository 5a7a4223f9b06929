"""Columns as uploaded, to numbers, quality codes and times; what cannot be read is marked, never guessed."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from twin.errors import TelemetryError
from twin.plant import near
from twin.storage.batch import BAD, GOOD, UNCERTAIN

Column: TypeAlias = pa.Array | pa.ChunkedArray

MISSING = ("", "nan", "null", "none", "na", "n/a", "#n/a", "#na", "-nan")
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
QUALITIES = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?$"
ZONE = r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"
EARLIEST, LATEST = (int(np.datetime64(t, "us").astype(np.int64)) for t in ("1900-01-01", "2199-12-31T23:59:59.999999"))
MISSING_TIME = int(np.datetime64("NaT").astype(np.int64))
OFFSET = "; write it with its offset, such as +01:00"
UNREADABLE = "; write ISO 8601 with an offset, such as 2026-05-01T08:00:00Z"


@cache
def zones() -> frozenset[str]:
    """The names of all time zones that this machine knows; to list them takes milliseconds."""
    return frozenset(zoneinfo.available_timezones())


def numbers(column: Column, decimal: str = ".") -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a column: (n,) float64, NaN is missing; and (n,) bool, the cells refused (text, infinities).

    Args:
        decimal: the decimal mark of numbers written as text.

    Raises:
        TelemetryError: the column is of a type that holds no numbers.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), bool)
    if is_text(kind):
        values, refused = _parsed(as_text(column), decimal)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values, refused = column.cast(pa.float64(), safe=False), np.zeros(len(column), bool)
    elif pa.types.is_boolean(kind):
        values, refused = column.cast(pa.int8()).cast(pa.float64()), np.zeros(len(column), bool)
    else:
        raise TelemetryError(f"a column of the type {kind} holds no numbers")
    result = values.fill_null(np.nan).to_numpy(zero_copy_only=False).copy()
    infinite = np.isinf(result)
    result[infinite] = np.nan
    return result, refused | infinite


def _parsed(text: pa.Array, decimal: str) -> tuple[pa.Array, np.ndarray]:
    if decimal == ".":
        try:
            return text.cast(pa.float64()), np.zeros(len(text), bool)
        except pa.ArrowInvalid:
            pass  # some cell is no number: look at each
    text = pc.utf8_trim_whitespace(text)
    text = pc.if_else(pc.is_in(pc.utf8_lower(text), pa.array(MISSING)), None, text)
    good = text
    if decimal != ".":  # a point would be a thousands separator, or a mistake: not ours to guess
        good = pc.if_else(pc.match_substring(text, "."), "?", pc.replace_substring(text, decimal, "."))
    fits = pc.match_substring_regex(good, NUMBER)
    values = pc.if_else(fits, good, None).cast(pa.float64())
    return values, ~fits.fill_null(True).to_numpy(zero_copy_only=False)


def shown(column: Column, index: int) -> str:
    """A cell as an engineer would recognise it, quoted and cut."""
    try:
        cell = as_text(column.slice(index, 1))[0].as_py() if is_text(column.type) else column[index].as_py()
        text = "" if cell is None else str(cell)
    except (ArithmeticError, ValueError, LookupError):  # a time, a zone or a decimal that Python does not have
        text = str(getattr(column[index], "value", "?"))
    return f"'{text}'" if len(text) <= 60 else f"'{text[:60]}…'"


def refusal(column: Column, index: int, decimal: str = ".") -> str:
    """Why `numbers` refused a cell."""
    cell = shown(column, index)
    if decimal == "," and "." in cell:
        return f"{cell} is no number; the numbers of this file have decimal commas"
    if not is_text(column.type) or re.match(NUMBER, cell.strip("' ").replace(decimal, ".")):
        return f"{cell} is not finite"
    return f"{cell} is no number" + ("; with decimal commas, separate columns by ';'" if "," in cell else "")


def qualities(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """OPC DA codes of a quality column: (n,) int16, good where nothing is said; and (n,) bool, the cells refused.

    Understood are good, uncertain and bad in any case, and the codes 0 to 255.

    Raises:
        TelemetryError: the column is of a type that holds no qualities.
    """
    if pa.types.is_null(column.type):
        return np.full(len(column), GOOD, np.int16), np.zeros(len(column), bool)
    coded = as_text(column).dictionary_encode()
    known = np.array([_quality(word) for word in coded.dictionary.to_pylist()] + [GOOD], np.int16)
    codes = known[coded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
    return np.where(codes < 0, np.int16(GOOD), codes), codes < 0


def _quality(word: str) -> int:
    """The OPC DA code of a word; -1 where it is none."""
    word = word.strip().lower().removesuffix(".0")
    if word in MISSING:
        return GOOD
    code = int(word) if word.isdecimal() and len(word) <= 3 else QUALITIES.get(word, -1)
    return code if code <= 255 else -1


def _naive(kind: pa.TimestampType) -> bool:
    """Whether times of this type are in no zone."""
    try:
        return not kind.tz
    except UnicodeDecodeError:  # of a damaged file: a zone, whose name is no text
        return False


@dataclass
class Clock:
    """Reads times; those without an offset are local to `timezone`, or refused where there is none.

    Raises:
        TelemetryError: there is no such time zone.
    """

    timezone: str | None = None
    started: bool = False

    def __post_init__(self) -> None:
        if self.timezone is not None and self.timezone not in zones():
            hint = near(self.timezone, zones())
            raise TelemetryError(f"timezone '{self.timezone}' is unknown{hint or '; write one such as Europe/Berlin'}")

    def read(self, column: Column) -> tuple[np.ndarray, dict[int, str]]:
        """Times of a column: (n,) int64 microseconds UTC (finer digits are cut), and why rows are refused.

        Raises:
            TelemetryError: times without an offset and no time zone given, or a column that holds no times.
        """
        times, refused = self._read(column)
        for i in np.flatnonzero((times < EARLIEST) | (times > LATEST)).tolist():
            if i not in refused:
                refused[i] = f"the time {shown(column, i)} lies outside the years 1900 to 2199"
        return times, refused

    def _read(self, column: Column) -> tuple[np.ndarray, dict[int, str]]:
        kind = column.type
        if pa.types.is_timestamp(kind):
            zone = None if _naive(kind) else "UTC"  # what is stored is UTC, in whichever zone it is to be shown
            try:
                cut = pc.cast(column, options=pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True))
            except pa.ArrowInvalid as error:
                raise TelemetryError(f"column 'time' holds times that are out of range: {error}") from None
            missing = cut.is_null().to_numpy(zero_copy_only=False)
            refused = dict.fromkeys(np.flatnonzero(missing).tolist(), "the time is missing")
            times = cut.cast(pa.int64()).fill_null(MISSING_TIME).to_numpy(zero_copy_only=False)
            if zone is None:
                return self._numbers(pd.DatetimeIndex(times.view("M8[us]")), np.full(len(times), True), refused)
            self.started = self.started or len(refused) < len(times)
            return times, refused
        if not is_text(kind):
            raise TelemetryError(f"column 'time' has the type {kind}; timestamps or ISO 8601 text are expected")
        text = pc.utf8_trim_whitespace(as_text(column))
        try:
            if not text.null_count:
                times = text.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
                self.started = True
                return times, {}
        except pa.ArrowInvalid:
            pass  # some are not of the plain form: look at each
        return self._parse(text)

    def _parse(self, text: pa.Array) -> tuple[np.ndarray, dict[int, str]]:
        tidy = pc.replace_substring_regex(pc.utf8_upper(text.fill_null("")), r"\s+([Z+-])", r"\1")
        tidy = pc.replace_substring(tidy, ",", ".")
        fits = pc.match_substring_regex(tidy, ISO).to_numpy(zero_copy_only=False)
        zoned = pc.match_substring_regex(tidy, ZONE).to_numpy(zero_copy_only=False)
        index = _index(tidy, fits & zoned, fits & ~zoned)
        refused = {}
        for i in np.flatnonzero(index.isna()).tolist():
            word = text[i].as_py()
            refused[i] = f"cannot read the time '{word[:60]}'{UNREADABLE}" if word else "the time is missing"
        return self._numbers(index, fits & ~zoned, refused)

    def _numbers(
        self, index: pd.DatetimeIndex, naive: np.ndarray, refused: dict[int, str]
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Times without zone, of which the naive ones are local, to UTC."""
        times = index.as_unit("us").asi8.copy()
        there = (times >= EARLIEST) & (times <= LATEST)  # zones are known for these years only; `read` refuses others
        local = np.flatnonzero(naive & there)
        if len(local) and self.timezone is None:
            if not self.started and len(local) + len(refused) == len(index):
                raise TelemetryError(
                    f"the times have no offset (the first is {index[local[0]].isoformat()}); write them with one, "
                    "such as 2026-05-01T08:00:00Z, or say which zone they are in by timezone"
                )
            refused |= dict.fromkeys(local.tolist(), "the time has no offset, and no timezone is given")
        elif len(local):
            here = index[local].tz_localize(self.timezone, ambiguous="NaT", nonexistent="NaT")
            skipped = index[local].tz_localize(self.timezone, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
            times[local] = here.tz_convert("UTC").as_unit("us").asi8
            for i in np.flatnonzero(here.isna()).tolist():
                why = "does not exist (the clock was set forward)" if skipped.isna()[i] else "came twice"
                refused[int(local[i])] = (
                    f"the local time {index[local[i]].isoformat()} {why} in {self.timezone}{OFFSET}"
                )
        self.started = self.started or len(refused) < len(index)
        return times, refused


def _index(words: pa.Array, zoned: np.ndarray, naive: np.ndarray) -> pd.DatetimeIndex:
    """Times as they stand, those with an offset in UTC, the others local; NaT where a word is no time, or unmarked."""
    short = pc.replace_substring_regex(words, r"(\.\d{6})\d+", r"\1")
    try:
        utc = pc.if_else(zoned, short, None).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        local = pc.if_else(naive, short, None).cast(pa.timestamp("us")).cast(pa.int64())
        times = pc.coalesce(utc, local).fill_null(MISSING_TIME).to_numpy(zero_copy_only=False)
        return pd.DatetimeIndex(times.view("M8[us]"))
    except pa.ArrowInvalid:  # some month, hour or offset does not exist: pandas says which
        marked = pd.Index(np.where(zoned | naive, words.to_numpy(zero_copy_only=False), None))
        return pd.to_datetime(marked, format="ISO8601", utc=True, errors="coerce").tz_localize(None).as_unit("us")


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(test(kind) for test in text) or pa.types.is_large_binary(kind)


def as_text(column: Column) -> pa.Array:
    """The column as one array of strings; bytes that are no UTF-8 are shown as such.

    Raises:
        TelemetryError: the column is of a type that cannot be written as text.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    try:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return array.cast(pa.string())
    except (pa.ArrowNotImplementedError, KeyError):  # KeyError: a type that pyarrow has no class for
        raise TelemetryError(f"a column of the type {array.type} holds no text") from None
    except pa.ArrowInvalid:
        cells = array.cast(pa.binary()).to_pylist()
        return pa.array([None if c is None else c.decode("utf-8", "backslashreplace") for c in cells], pa.string())
