"""Append one upload: in bounded memory, all of it or nothing, with an exact receipt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from twin.storage.batch import QUALITY, TIME, Batch, Receipt
from twin.storage.delta import BODY, RECEIPT, ROWS, Files, Log
from twin.storage.merge import SEQUENCE, Rows, judge
from twin.storage.view import View

CELLS = 8_000_000  # values held in memory at once: 64 MB


@dataclass
class Upload:
    """An upload on its way in.

    Attributes:
        log: of the table.
        view: what is stored already; grows with the files written.
        receipt: counts what has come so far.
        newest: the last time there was a row of before (int64 microseconds); None where there was none.
        parts: the files written, not yet committed.
    """

    log: Log
    view: View
    receipt: Receipt
    newest: int | None
    parts: Files = field(default_factory=Files.none)

    def take(self, table: pa.Table, long: bool) -> None:
        """Store the rows of a table that say something new, and count the others."""
        tags = tuple(c for c in table.column_names if c != TIME and not c.endswith(QUALITY))
        rows = Rows.of(table, tags, first_sequence=self.view.as_of + 1)
        if not len(rows):
            return
        self.receipt.cover(rows.times)
        keep = np.ones(len(rows), bool)
        for piece, span in self.view.beside(rows.times, max(CELLS // (len(tags) + 1), 1)):
            new = rows.at(piece)
            known = self.view.answer(*span, tags) if span else Rows.none(tags)
            keep[piece] = self._count(new, known, long)
        if self.newest is not None:
            self.receipt.rows_late += int((keep & (rows.times < self.newest)).sum())
        self._write(rows.at(keep), self.view.as_of + len(rows))

    def _count(self, new: Rows, known: Rows, long: bool) -> np.ndarray:
        """(n,) bool: which rows are to be stored."""
        verdict = judge(new, known)
        given = ~np.isnan(new.values)
        if long:  # a row a value
            fresh = given & ~verdict.same
            self.receipt.rows_stored += int(fresh.sum())
            self.receipt.rows_duplicate += int(verdict.same.sum())
            self.receipt.rows_replaced += int(verdict.changed.sum())
            return fresh.any(axis=1)
        duplicate = verdict.seen & (verdict.same | ~given).all(axis=1)
        self.receipt.rows_stored += int((~duplicate).sum())
        self.receipt.rows_duplicate += int(duplicate.sum())
        self.receipt.rows_replaced += int(verdict.changed.any(axis=1).sum())
        return ~duplicate

    def _write(self, rows: Rows, sequence: int) -> None:
        files, columns = Files.none(), tuple[str, ...]()
        if len(rows):
            files, columns = self.log.write_rows(rows)
        self.parts = self.parts.plus(files)
        self.view = self.view.extended(files, columns, sequence)

    def finish(self, key: str | None, before: int, digest: str | None = None) -> Receipt:
        """Commit everything, with the receipt; `digest` is of the body that it came in."""
        number = self.view.as_of + 1
        self.receipt.upload, self.receipt.version = str(number), number
        body = {"receipt": self.receipt.to_json(), "first_sequence": before + 1, "key": key, "digest": digest}
        added = {ROWS: self.parts, RECEIPT: note(self.log, RECEIPT, number, body)}
        self.log.commit(number, added, columns=self.view.columns, key=key)
        return self.receipt


def note(log: Log, kind: str, number: int, body: dict) -> Files:
    """Write a row of the ledger: what happened, when, under which sequence number."""
    now = np.array([datetime.now(UTC).replace(tzinfo=None)], "datetime64[us]")
    columns = {
        TIME: pa.array(now).cast(pa.timestamp("us", "UTC")),
        SEQUENCE: pa.array([number], pa.int64()),
        BODY: pa.array([json.dumps(body)]),
    }
    return log.write(kind, pa.table(columns))


def coalesce(batches: Iterable[Batch], receipt: Receipt) -> Iterator[tuple[pa.Table, bool]]:
    """The rows of batches in tables of about `CELLS` values, counted on the receipt; and whether they are long."""
    waiting: list[pa.Table] = []
    cells, long = 0, False
    for batch in batches:
        receipt.count(batch)
        waiting.append(batch.table)
        long = batch.long
        cells += batch.table.num_rows * batch.table.num_columns
        if cells >= CELLS:
            yield _together(waiting), long
            waiting, cells = [], 0
    if cells:
        yield _together(waiting), long


def _together(tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def pull(tables: Iterator[tuple[pa.Table, bool]]) -> Iterator[tuple[pa.Table, bool]]:
    """The same tables, with the first one read already: a slow client holds no lock while it is still sending that."""
    return itertools.chain(list(itertools.islice(tables, 1)), tables)
