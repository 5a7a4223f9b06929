"""Everything the environment can set. No other module reads the environment.

Each field is the variable `TWIN_` + its name in capitals; the README's table of settings is checked against it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 1 << 30
MIB = 1 << 20


class Settings(BaseSettings):
    """How the service and its workers run."""

    model_config = SettingsConfigDict(env_prefix="TWIN_", frozen=True)

    data_dir: Path = Field(default=Path("data"), description="the one folder where everything is kept")
    host: str = Field(default="127.0.0.1", description="the address to listen on; one beyond this machine needs a key")
    port: int = Field(default=8000, ge=0, le=65535, description="the port to listen on")
    admin_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="the bootstrap key, of 16 characters or more; generated and printed once where it is not set",
    )
    database_url: str | None = Field(
        default=None, description="a SQLAlchemy URL such as `postgresql+psycopg://…`; SQLite in the data folder"
    )
    telemetry_url: str | None = Field(
        default=None, description="where the Delta tables lie, a folder or `s3://…`; in the data folder"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least severe log shown: debug, info, warning or error"
    )
    workers: int = Field(
        default=1, ge=0, le=64, description="training processes that `serve` starts; 0 leaves training to `twin worker`"
    )
    ray_address: str | None = Field(
        default=None,
        description="a Ray cluster, `host:port` or `auto`, that trains in place of `TWIN_WORKERS` (extra `cluster`)",
    )
    lease_s: float = Field(default=30.0, gt=0, description="a job whose worker is silent for so long goes to another")
    job_memory_mib: int = Field(
        default=0, ge=0, description="a training job whose process holds more memory than this fails; 0 is no limit"
    )
    job_time_s: float = Field(default=86_400.0, gt=0, description="a training job that runs for longer fails")
    max_upload_bytes: int = Field(default=8 * GIB, gt=0, description="the largest upload of telemetry, as it is sent")
    max_unpacked_bytes: int = Field(default=64 * GIB, gt=0, description="the largest upload of telemetry, unpacked")
    max_request_bytes: int = Field(default=16 * MIB, gt=0, description="the largest JSON request")
    spool_mib: int = Field(
        default=1024,
        ge=1,
        description="MiB of recommendations that may wait on disk for the database; beyond, optimize answers 503",
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="how many requests a key may make in a minute, in the long run; 0 is any number"
    )
    tls_cert: Path | None = Field(default=None, description="a certificate chain, PEM: the service then speaks HTTPS")
    tls_key: Path | None = Field(default=None, description="the private key of the certificate, PEM")
    oidc_issuer: str | None = Field(
        default=None, description="an OpenID Connect provider whose access tokens are taken beside keys"
    )
    oidc_audience: str = Field(default="plant-twin", description="what its tokens must name in `aud`")
    oidc_prefix: str = Field(default="twin:", description="of its scopes that are meant for us: `twin:read` is `read`")
    oidc_plants_claim: str | None = Field(
        default=None, description="the claim of its tokens that lists the plants they are for; without it, all"
    )
    otlp_endpoint: str | None = Field(
        default=None, description="an OTLP/HTTP receiver, such as `http://collector:4318`, to which traces are sent"
    )
    retention_days: float = Field(
        default=0.0,
        ge=0,
        description="older telemetry is removed once a day, but for what twins with an alias learned from; 0 keeps all",
    )
    twins_in_memory: int = Field(default=16, ge=1, description="twins that stay loaded; the least recently used goes")

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'twin.db'}"

    @property
    def telemetry(self) -> str:
        """The URL or folder of the telemetry in force."""
        return self.telemetry_url or str(self.data_dir.resolve() / "telemetry")

    @property
    def twins(self) -> Path:
        """The folder of trained twins."""
        return self.data_dir.resolve() / "twins"

    @property
    def fleets(self) -> Path:
        """The folder of what was learnt of fleets."""
        return self.data_dir.resolve() / "fleets"

    @property
    def jobs(self) -> Path:
        """The folder of the checkpoints of jobs."""
        return self.data_dir.resolve() / "jobs"

    @property
    def incoming(self) -> Path:
        """The folder of files that arrive in parts."""
        return self.data_dir.resolve() / "incoming"

    @property
    def spool(self) -> Path:
        """The folder of recommendations that are not in the database yet."""
        return self.data_dir.resolve() / "spool"

    @property
    def compilation_cache(self) -> Path:
        """The folder of compiled programs."""
        return self.data_dir.resolve() / "compiled"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class ClientSettings(BaseSettings):
    """Where the command line finds the service."""

    model_config = SettingsConfigDict(env_prefix="TWIN_", frozen=True)

    url: str = Field(default="http://127.0.0.1:8000", description="the service that the command line talks to")
    key: SecretStr | None = Field(default=None, description="the key that the command line presents")


def environment() -> Mapping[str, str]:
    """Where a plant's file finds the secrets that it names."""
    return os.environ
