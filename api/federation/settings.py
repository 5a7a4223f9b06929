"""What a federation is told: one TOML file for its server, one for each site."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twin.errors import FederationError, Problem, TwinError
from twin.federation.consensus import Rule
from twin.federation.rounds import Policy
from twin.federation.site import Privacy
from twin.fleet.shape import Shape
from twin.plant import Plant, Role, Tag
from twin.training.folds import HISTORY, ROWS

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
S = TypeVar("S", bound=BaseModel)


class Strict(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerTable(Strict):
    """Where the server answers and keeps its things.

    Args:
        host, port: its address; sites of other machines need one that is not the loopback.
        folder: consensus, log and Flower's files.
        certificate, key, authority: TLS, PEM; `twin federation keys` makes them.
        flower: an environment that has Flower; one is made in the folder by default.
    """

    host: str = "127.0.0.1"
    port: int = Field(9443, ge=1, le=65535)
    folder: Path = Path("federation")
    certificate: Path = Path("keys/server.pem")
    key: Path = Path("keys/server.key")
    authority: Path = Path("keys/authority.pem")
    flower: Path | None = None


class RoundsTable(Strict):
    """How rounds are held.

    Args:
        count: rounds to hold.
        steps: gradient steps of a site in each.
        wait_s: how long a round waits for its sites; those that answer later count in a later round.
        patience: rounds in a row that may fail for want of sites.
        rule, beta, rho, aggregate, late_rounds: as `twin.federation` has them.
        secure: sum by secure aggregation: no single site's change is seen by the server.
        clip: then, how large one parameter's change may be; beyond, it is cut.
    """

    count: int = Field(20, ge=1)
    steps: int = Field(50, ge=0)
    wait_s: float = Field(600.0, gt=0)
    patience: int = Field(3, ge=1)
    rule: str = "fedavg"
    beta: float = 0.9
    rho: float = 0.1
    aggregate: str = "clipped_mean"
    late_rounds: int = Field(2, ge=0)
    secure: bool = False
    clip: float = Field(1.0, gt=0)


class TagTable(Strict):
    """One tag of the common model."""

    name: str
    role: Role
    unit: str = "1"


class ModelTable(Strict):
    """The common model.

    Args:
        sample_period_s: to which every site is resampled.
        history, horizon: rows.
    """

    sample_period_s: float = Field(gt=0)
    history: int = Field(HISTORY, ge=8)
    horizon: int = Field(ROWS, ge=2)
    seed: int = 0
    tags: tuple[TagTable, ...]

    def shape(self) -> Shape:
        """Its form.

        Raises:
            PlantError: the tags contradict each other.
        """
        tags = tuple(Tag(tag.name, tag.role, tag.unit) for tag in self.tags)
        return Shape.of(
            Plant("the common model", self.sample_period_s, tags), history=self.history, horizon=self.horizon
        )


class ServerFile(Strict):
    """A federation, as its server is told. `sites` are public keys by the names of their sites."""

    server: ServerTable = Field(default_factory=ServerTable.model_construct)
    sites: dict[str, Path]
    rounds: RoundsTable = Field(default_factory=RoundsTable.model_construct)
    model: ModelTable

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rounds.secure and self.rounds.aggregate not in ("mean", "clipped_mean"):
            raise ValueError(f"rounds.aggregate: '{self.rounds.aggregate}' compares single changes, which secure hides")
        if self.rounds.secure and len(self.sites) < 3:
            raise ValueError("rounds.secure: of two sites each knows the other's change from the sum; three are needed")
        return self

    def policy(self) -> Policy:
        """How rounds are held.

        Raises:
            FederationError: fewer than two sites, or a number that makes no sense.
        """
        rounds = self.rounds
        rule = Rule(rounds.rule, rounds.beta, rounds.rho)
        return Policy(tuple(sorted(self.sites)), rule, rounds.aggregate, rounds.late_rounds)


class SiteTable(Strict):
    """Who the site is, and where it keeps its things.

    Args:
        name: as the server's roster has it.
        server: host:port.
        authority: certificate of the authority that signed the server's.
        key: the site's private key.
        folder: its own parameters, the consensus and Flower's files.
        secure: it sends nothing but what secure aggregation masks.
        plant: the description of its plant, JSON, its own tags and units.
        telemetry: files of that plant: CSV, Parquet or Arrow, wide or long.
    """

    name: str = Field(pattern=NAME)
    server: str
    authority: Path = Path("keys/authority.pem")
    key: Path
    folder: Path = Path("site")
    flower: Path | None = None
    secure: bool = False
    plant: Path
    telemetry: tuple[Path, ...] = Field(min_length=1)


class PrivacyTable(Strict):
    """Differential privacy of the site, as `twin.federation.site.Privacy`."""

    clip: float = Field(gt=0)
    noise: float = Field(gt=0)
    epsilon: float = Field(10.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)

    def privacy(self) -> Privacy:
        return Privacy(self.clip, self.noise, self.epsilon, self.delta)


class SiteFile(Strict):
    """A site, as it is told. `tags` are its own by those of the common model, where the names differ."""

    site: SiteTable
    privacy: PrivacyTable | None = None
    tags: dict[str, str] = {}

    def plant(self) -> Plant:
        """The description of its plant.

        Raises:
            FederationError: the file cannot be read.
            PlantError: it contradicts itself.
        """
        try:
            return Plant.from_json(json.loads(self.site.plant.read_text()))
        except (OSError, ValueError) as error:
            raise FederationError(f"{self.site.plant}: {error}") from error


def read(path: Path, kind: type[S]) -> S:
    """The settings of a file; paths in it are relative to it.

    Raises:
        FederationError: it cannot be read, or says something that it must not; each with its place.
    """
    try:
        body = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FederationError(f"{path}: {error}") from error
    try:
        found = kind.model_validate(body)
    except ValidationError as error:
        told = [Problem(tuple(e["loc"]), f"{e['msg']}") for e in error.errors()]
        lines = "; ".join(f"{'.'.join(map(str, p.loc))}: {p.msg}" if p.loc else p.msg for p in told)
        raise FederationError(f"{path}: {lines}", told) from None
    except TwinError as error:
        raise FederationError(f"{path}: {error.detail}", error.problems) from error
    return kind.model_validate(_absolute(found.model_dump(), path.parent.absolute()))


def _absolute(body: Any, base: Path) -> Any:
    if isinstance(body, dict):
        return {name: _absolute(value, base) for name, value in body.items()}
    if isinstance(body, tuple | list):
        return [_absolute(value, base) for value in body]
    return base / body if isinstance(body, Path) else body
