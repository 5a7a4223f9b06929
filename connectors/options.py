"""What every kind of source and sink is configured with; each kind adds its own beside its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from twin import units
from twin.errors import PlantError


class Strict(BaseModel):
    """A table of the file: unknown keys are refused, texts are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Mapped(Strict):
    """Where one tag is found, and what its numbers mean: value = scale · raw + offset, in `unit`.

    Args:
        address: of the kind: a node id, a topic, a column. A text alone stands for a table with this.
        unit: of the source; the plant's own where it is left out.
    """

    address: str = Field(min_length=1)
    unit: str | None = None
    scale: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)

    @property
    def place(self) -> tuple[str, ...]:
        """What no two tags of a source may share."""
        return (self.address,)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"address": given} if isinstance(given, str) else given

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str | None) -> str | None:
        if unit is not None:
            try:
                units.check(unit)
            except PlantError as error:
                raise ValueError(error.detail) from None
        return unit

    @field_validator("scale")
    @classmethod
    def _invertible(cls, scale: float) -> float:
        if scale == 0:
            raise ValueError("a scale of 0 makes every value the same")
        return scale


class Options(Strict):
    """A source or a sink.

    Args:
        kind: of `connectors.kinds`.
        name: to tell it from others in logs and metrics; its kind by default.
        tags: the plant's tags that it has, with their addresses.
        future_s: samples stamped further ahead of our clock are refused.
    """

    kind: str
    name: str = ""
    tags: Mapping[str, Mapped] = Field(default_factory=dict)
    future_s: float = Field(default=60.0, ge=0)

    @property
    def title(self) -> str:
        """Its name, or its kind where it has none."""
        return self.name or self.kind

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tags that cannot be as they are mapped, each with the reason."""
        places: dict[tuple[str, ...], str] = {}
        for tag, mapped in self.tags.items():
            if (same := places.setdefault(mapped.place, tag)) != tag:
                yield tag, f"has the address of '{same}': '{mapped.address}'"

    @property
    def secrets(self) -> dict[str, str]:
        """The environment variables that hold its secrets, by field."""
        return {name: value for name, value in self if name.endswith("_env") and isinstance(value, str)}
