"""Training on a real Ray cluster of two nodes on this machine: jobs spread over them, and are cancelled there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.jobs.cluster import Cluster
from api.jobs.queue import FAILED, RUNNING, SUCCEEDED
from api.main import create_app
from api.service import Service
from api.settings import Settings
from twin.errors import TwinError
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.storage.batch import of_frame

ray = pytest.importorskip("ray")

# Ray starts its processes by fork; they replace themselves at once.
pytestmark = pytest.mark.filterwarnings(
    "ignore:os.fork:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

REQUEST = {"budget_s": 2.0, "seed": 1, "plant_version": 1}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head that runs nothing and two nodes with a core each, each with processes of its own."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("JAX_PLATFORMS", "cpu")
        found = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            found.add_node(num_cpus=1)
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.fixture
def service(nodes: Any, tmp_path: Path) -> Iterator[tuple[Service, Cluster]]:
    """A service without workers of its own, and two plants with telemetry."""
    settings = Settings(data_dir=tmp_path, ray_address=nodes.address, workers=0, lease_s=5.0)
    service = Service.open(settings)
    telemetry = Simulator(QuadrupleTank(), 5).excite(500).frame()
    for slug in ("one", "two"):
        service.catalog.put_plant("boss", slug, QuadrupleTank.plant, None, None)
        service.store.plant(slug).append(of_frame(telemetry))
    cluster = Cluster(settings, service.jobs)
    cluster.start()
    yield service, cluster
    cluster.stop()
    service.close()


def until(holds: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.2)


def submit(service: Service, slug: str) -> str:
    return service.jobs.submit(slug, REQUEST | {"data_version": service.store.plant(slug).version}, "boss").id


def test_jobs_of_two_plants_train_on_two_nodes_at_once(service: tuple[Service, Cluster]) -> None:
    kept, _ = service
    ids = [submit(kept, slug) for slug in ("one", "two")]
    until(lambda: all(kept.jobs.get(job).state == RUNNING for job in ids))
    holders = {kept.jobs.get(job).worker for job in ids}
    assert len(holders) == 2
    assert not any(f"-{os.getpid()}-" not in str(holder) for holder in holders)  # named here, run elsewhere
    until(lambda: all(kept.jobs.get(job).state in (SUCCEEDED, FAILED) for job in ids))
    for slug, job in zip(("one", "two"), ids, strict=True):
        done = kept.jobs.get(job)
        assert done.state == SUCCEEDED, done.error
        twin = kept.registry.load(done.result["twin"])
        assert twin.plant.names == QuadrupleTank.plant.names
        assert kept.catalog.aliases(slug) == {"champion": done.result["twin"]}


def test_a_job_is_cancelled_wherever_it_runs(service: tuple[Service, Cluster]) -> None:
    kept, cluster = service
    job = submit(kept, "two")
    until(lambda: kept.jobs.get(job).state == RUNNING)
    kept.jobs.cancel(job, "boss")
    until(lambda: not cluster._tasks, 60)
    assert kept.jobs.get(job).state == "cancelled"


def test_a_cluster_that_is_not_there_is_told_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(TwinError, match=r"127\.0\.0\.1:9"):
        create_app(Settings(data_dir=tmp_path, ray_address="127.0.0.1:9", workers=0))
