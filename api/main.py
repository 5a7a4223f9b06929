"""The application: routes, errors, middleware, and what is opened and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI

from api.deps import known_query
from api.http import errors, openapi
from api.jobs import compilation
from api.jobs.cluster import Cluster, reach
from api.jobs.worker import Pool
from api.logs import configure
from api.middleware import Around, BodyLimit
from api.routes import (
    audit,
    calibrations,
    console,
    controller,
    files,
    fleets,
    health,
    jobs,
    keys,
    optimize,
    pages,
    plants,
    predict,
    recommendations,
    sources,
    steptests,
    telemetry,
    twins,
    upkeep,
)
from api.service import Service
from api.settings import Settings
from api.tracing import Tracing

DESCRIPTION = """Digital twins of industrial plants: upload telemetry, train a world model, predict what-ifs,
optimize under limits. Times are RFC 3339, durations seconds, values in each tag's engineering unit; every error
is an RFC 9457 problem."""


def create_app(settings: Settings) -> FastAPI:
    """The service of these settings; opened by its lifespan."""
    configure(settings.log_level)
    compilation.cache(settings.compilation_cache)
    tracing = Tracing(settings)
    if settings.ray_address:
        reach(settings.ray_address)
    service = Service.open(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = Cluster(settings, service.jobs) if settings.ray_address else Pool(settings, service.jobs)
        pool.start()
        app.state.pool = pool
        yield
        pool.stop()
        service.close()
        tracing.close()

    app = FastAPI(
        title="Plant Twin",
        version=version("plant-twin"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=openapi.ERRORS,
    )
    app.state.service = service
    errors.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit, request_bytes=settings.max_request_bytes, upload_bytes=settings.max_upload_bytes)
    app.add_middleware(Around, metrics=service.metrics)
    strict = [Depends(known_query)]
    asking = (plants, telemetry, twins, calibrations, upkeep, predict, optimize, steptests, recommendations, controller)
    for part in (*asking, fleets, files, sources, jobs, keys, audit, health):
        app.include_router(part.router, dependencies=strict)
    app.include_router(console.router)
    app.include_router(pages.router)
    tracing.install(app)
    return app
