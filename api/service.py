"""Everything the service holds while it runs, opened and closed in one place."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from api.access.limiter import Limiter
from api.access.oidc import provider
from api.access.security import Keys
from api.drifts import Drifts
from api.incoming import Inbox
from api.jobs.queue import Jobs
from api.metrics import Metrics
from api.records.calibrations import Calibrations
from api.records.catalog import Catalog
from api.records.controllers import Controllers
from api.records.db import Database
from api.records.fleets import Fleets
from api.records.histories import Histories
from api.records.recorder import Recorder
from api.records.registry import Registry
from api.records.sources import Sources
from api.settings import MIB, Settings
from api.upkeep.housekeeping import Housekeeper
from twin.store import Store


@dataclass(frozen=True)
class Service:
    """The parts, each knowing only those it needs."""

    settings: Settings
    db: Database
    keys: Keys
    limiter: Limiter
    catalog: Catalog
    jobs: Jobs
    fleets: Fleets
    store: Store
    histories: Histories
    registry: Registry
    calibrations: Calibrations
    drifts: Drifts
    recorder: Recorder
    inbox: Inbox
    housekeeper: Housekeeper
    metrics: Metrics
    sources: Sources
    controllers: Controllers
    closing: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """Create what is missing, migrate the database, start the background threads."""
        settings.twins.mkdir(parents=True, exist_ok=True)
        db = Database(settings.database)
        db.migrate()
        sources = Sources()
        catalog, store, inbox = Catalog(db), Store(settings.telemetry), Inbox(settings.incoming)
        jobs = Jobs(db, settings.lease_s)
        registry = Registry(catalog, settings.twins, settings.twins_in_memory)
        metrics = Metrics(sources)
        service = cls(
            settings=settings,
            db=db,
            keys=Keys(db, provider(settings)),
            limiter=Limiter(settings.requests_per_minute),
            catalog=catalog,
            jobs=jobs,
            fleets=Fleets(settings.fleets),
            store=store,
            histories=Histories(store),
            registry=registry,
            calibrations=Calibrations(db, catalog, store, registry),
            drifts=Drifts(catalog, store, registry, metrics),
            recorder=Recorder(db, settings.spool, settings.spool_mib * MIB),
            inbox=inbox,
            housekeeper=Housekeeper(catalog, store, inbox, jobs, registry, settings.jobs, settings.retention_days),
            metrics=metrics,
            sources=sources,
            controllers=Controllers(db),
        )
        metrics.waiting.set_function(lambda: service.recorder.waiting)
        service.registry.start()
        service.recorder.start()
        service.housekeeper.start()
        service.drifts.start()
        return service

    def close(self) -> None:
        """Stop the threads, write what is still to be written, give the connections back."""
        self.closing.set()
        self.housekeeper.stop()
        self.drifts.stop()
        self.registry.stop()
        self.recorder.stop()
        self.db.close()
