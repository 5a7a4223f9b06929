"""One TOML file for all that is connected to a plant; what is wrong in it is told with its line.

plant = "tank"

[service]
url = "http://127.0.0.1:8000"
key_env = "TWIN_KEY"

[[sources]]
kind = "opcua"
url = "opc.tcp://plc:4840"
[sources.tags]
level = "ns=2;s=Level"
flow = {address = "ns=2;s=Flow", unit = "l/min"}

[[sinks]]
kind = "opcua"
url = "opc.tcp://plc:4840"
[sinks.tags]
valve = "ns=2;s=Valve"

[control]
# see the controller
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from connectors.edge import SinkEdge, SourceEdge
from connectors.errors import ConfigError, ConnectorError, Fault, Grave
from connectors.kinds import Context, module_of
from connectors.lines import Lines, line_of_error
from connectors.options import Options, Strict
from connectors.protocol import Sink, Source
from twin import units
from twin.errors import PlantError
from twin.plant import SLUG, Plant, near

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class Service(Strict):
    """The twin service.

    Args:
        key_env: the environment variable that holds its key.
    """

    url: str = "http://127.0.0.1:8000"
    key_env: str | None = None


class Collect(Strict):
    """How samples are kept and sent on.

    Args:
        buffer: the folder that keeps samples until the service has them, beside the file by default.
        flush_s: samples are sent on after so long, or when there are many.
        max_bytes: of the buffer; when it is full the sources wait, and what waits in them is theirs to keep.
        port: where health is served for Prometheus; None is nowhere.
    """

    buffer: str | None = None
    flush_s: float = Field(default=60.0, gt=0)
    max_bytes: int = Field(default=4 << 30, ge=1 << 20)
    port: int | None = Field(default=None, ge=0, le=65535)


class _File(Strict):
    plant: str = Field(pattern=rf"^{SLUG.pattern}$")
    service: Service = Field(default_factory=Service)
    collect: Collect = Field(default_factory=Collect)
    sources: list[dict[str, Any]] = Field(default_factory=list)
    sinks: list[dict[str, Any]] = Field(default_factory=list)
    control: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """A configuration file that was read.

    Attributes:
        path: of the file.
        plant: the slug.
        sources, sinks: the options of each, in the order of the file.
        control: the controller's table, as it stands; `validated` reads it.
        secrets: the environment variables that the file names, with their texts.
    """

    path: Path
    plant: str
    service: Service
    collect: Collect
    sources: tuple[Options, ...]
    sinks: tuple[Options, ...]
    control: Mapping[str, Any]
    secrets: Mapping[str, str]
    lines: Lines

    @property
    def key(self) -> str | None:
        """The service's key."""
        return None if self.service.key_env is None else self.secrets[self.service.key_env]

    def source(self, index: int, plant: Plant, context: Context | None = None) -> Source:
        """A source in the plant's units, not yet connected."""
        options, context = self.sources[index], context or Context(secrets=self.secrets)
        made: Source = module_of(options.kind).source(options, context)
        return SourceEdge(made, options, plant, context.clock)

    def sink(self, index: int, plant: Plant, context: Context | None = None) -> Sink:
        """A sink in the plant's units, not yet connected."""
        options, context = self.sinks[index], context or Context(secrets=self.secrets)
        made: Sink = module_of(options.kind).sink(options, context)
        return SinkEdge(made, options, plant)

    def only(self, plant: Plant) -> Config:
        """The same with the plant's tags alone, without those that only a controller reads and writes."""
        kept = [
            o.model_copy(update={"tags": {tag: m for tag, m in o.tags.items() if tag in plant.names}})
            for o in self.sources
        ]
        return replace(self, sources=tuple(kept))

    def validated(self, model: type[M], table: Mapping[str, Any], *loc: str | int) -> M:
        """A table of the file as such a model.

        Raises:
            ConfigError: with the line of everything that is wrong.
        """
        try:
            return model.model_validate(table)
        except ValidationError as error:
            raise ConfigError(self.path, _faults(error, loc, self.lines)) from None

    def fault(self, loc: Loc, msg: str, grave: Grave = "wrong") -> Fault:
        """Something wrong at a place of the file."""
        return Fault(loc, self.lines.of(loc), msg, grave)

    def error(self, loc: Loc, msg: str) -> ConfigError:
        """One thing wrong, to raise."""
        return ConfigError(self.path, [self.fault(loc, msg)])

    def against(self, plant: Plant) -> Iterator[Fault]:
        """What contradicts the plant: tags that it lacks, units that measure something else.

        Tags that only the table `control` names (the mode of a loop, a heartbeat) are no tags of the plant.
        """
        named = set(_words(self.control)) - set(plant.names)
        for where, all_options in (("sources", self.sources), ("sinks", self.sinks)):
            for i, options in enumerate(all_options):
                for tag, mapped in options.tags.items():
                    loc = (where, i, "tags", tag)
                    if tag in named:
                        continue
                    if tag not in plant.names:
                        yield self.fault(loc, f"the plant '{self.plant}' has no such tag{near(tag, plant.names)}")
                    elif mapped.unit is not None:
                        try:
                            units.convert(0.0, mapped.unit, plant.tag(tag).unit)
                        except PlantError as error:
                            yield self.fault((*loc, "unit"), error.detail)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read a configuration file.

    Args:
        environment: where its secrets are looked up.

    Raises:
        ConfigError: with the line of everything that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [Fault((), 1, f"cannot be read: {error}")]) from None
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [Fault((), line_of_error(error), f"is no TOML: {error}")]) from None
    lines = Lines(text)
    try:
        file = _File.model_validate(body)
    except ValidationError as error:
        raise ConfigError(path, _faults(error, (), lines)) from None
    faults: list[Fault] = []
    sources = _options(file.sources, "sources", lines, faults)
    sinks = _options(file.sinks, "sinks", lines, faults)
    tables: list[tuple[Loc, dict[str, str]]] = [
        (("service",), {"key_env": file.service.key_env} if file.service.key_env else {}),
        *((("sources", i), options.secrets) for i, options in sources),
        *((("sinks", i), options.secrets) for i, options in sinks),
    ]
    for loc, wanted in tables:
        for field, variable in wanted.items():
            if variable not in environment:
                where = (*loc, field)
                faults.append(Fault(where, lines.of(where), f"the environment has no {variable}"))
    faults += _twice([("sources", i, options) for i, options in sources], lines)
    faults += _twice([("sinks", i, options) for i, options in sinks], lines)
    if faults:
        raise ConfigError(path, faults)
    secrets = {variable: environment[variable] for _, wanted in tables for variable in wanted.values()}
    options = tuple(o for _, o in sources), tuple(o for _, o in sinks)
    return Config(path, file.plant, file.service, file.collect, *options, file.control, secrets, lines)


def _words(table: Any) -> Iterator[str]:
    """Every key and text of a table."""
    if isinstance(table, str):
        yield table
    elif isinstance(table, Mapping):
        for key, value in table.items():
            yield key
            yield from _words(value)
    elif isinstance(table, list):
        for value in table:
            yield from _words(value)


def _options(tables: list[dict[str, Any]], where: str, lines: Lines, faults: list[Fault]) -> list[tuple[int, Options]]:
    """The options of each table that can be read, with its place; the others become faults."""
    read = []
    for i, table in enumerate(tables):
        loc: Loc = (where, i)
        try:
            model = _model(table, where)
            read.append((i, model.model_validate(table)))
        except ConnectorError as error:
            faults.append(Fault((*loc, "kind"), lines.of((*loc, "kind")), error.detail))
        except ValidationError as error:
            faults += _faults(error, loc, lines)
    return read


def _model(table: Mapping[str, Any], where: str) -> type[Options]:
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise ConnectorError("is missing: what kind is it?")
    model: type[Options] | None = getattr(
        module_of(kind), "SourceOptions" if where == "sources" else "SinkOptions", None
    )
    if model is None:
        raise ConnectorError(f"'{kind}' is only a {'sink' if where == 'sources' else 'source'}")
    return model


def _twice(tables: list[tuple[str, int, Options]], lines: Lines) -> Iterator[Fault]:
    """A tag that two tables have, and what contradicts itself in one."""
    first: dict[str, Loc] = {}
    titles: set[str] = set()
    for where, i, options in tables:
        if options.title in titles:
            yield Fault((where, i, "name"), lines.of((where, i, "name")), f"a second '{options.title}': name it")
        titles.add(options.title)
        for tag in options.tags:
            loc = (where, i, "tags", tag)
            if tag in first:
                yield Fault(loc, lines.of(loc), f"is mapped in line {lines.of(first[tag])} already")
            first.setdefault(tag, loc)
        for tag, msg in options.contradictions():
            yield Fault((where, i, "tags", tag), lines.of((where, i, "tags", tag)), msg)


def _faults(error: ValidationError, loc: Loc, lines: Lines) -> Iterable[Fault]:
    for item in error.errors():
        where = (*loc, *item["loc"])
        msg = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            msg = "unknown key"
        yield Fault(where, lines.of(where), msg[:1].lower() + msg[1:])
