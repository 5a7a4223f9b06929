"""Everything the service holds while it runs, opened and closed in one place."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from api.calibrations import Calibrations
from api.catalog import Catalog
from api.controllers import Controllers
from api.db import Database
from api.drifts import Drifts
from api.histories import Histories
from api.housekeeping import Housekeeper
from api.incoming import Inbox
from api.jobs import Jobs
from api.limiter import Limiter
from api.metrics import Metrics
from api.oidc import provider
from api.recorder import Recorder
from api.registry import Registry
from api.security import Keys
from api.settings import Settings
from api.sources import Sources
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
            store=store,
            histories=Histories(store),
            registry=registry,
            calibrations=Calibrations(db, catalog, store, registry),
            drifts=Drifts(catalog, store, registry, metrics),
            recorder=Recorder(db),
            inbox=inbox,
            housekeeper=Housekeeper(catalog, store, inbox, jobs, settings.jobs),
            metrics=metrics,
            sources=sources,
            controllers=Controllers(db),
        )
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
