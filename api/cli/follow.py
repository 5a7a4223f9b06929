"""Follows a job on the screen: a bar, the remaining time, the losses; alarms above it."""

from __future__ import annotations

from api.cli import show
from api.client.clients import Client
from api.client.types import JobAnswer

SHOWN = ("out_of_fold", "readout", "latent", "sigreg")


def follow(client: Client, job: str) -> JobAnswer:
    """Show the job until it has ended; the job as it is then."""
    with show.training() as bars:
        bar = bars.add_task("training", total=1.0, eta="", losses="")
        for event in client.events(job):
            if event.kind == "progress":
                bars.update(
                    bar,
                    completed=event.data.get("progress", 0.0),
                    description=event.data.get("stage", "training"),
                    eta=remaining(event.data.get("eta_s")),
                    losses=losses(event.data.get("losses", {})),
                )
            elif event.kind == "alarm":
                bars.console.print(f"alarm: {event.data['detail']}", style="yellow", markup=False)
            elif event.data["state"] == "succeeded":
                bars.update(bar, completed=1.0, eta="")
    return client.job(job)


def remaining(eta_s: float | None) -> str:
    """The remaining time in words."""
    return "" if eta_s is None else f"{eta_s:.0f} s left"


def losses(values: dict[str, float | None]) -> str:
    """The losses in one line; `out_of_fold` is the error on held-out blocks, 1 for the backbone alone."""
    known = {name: values.get(name) for name in SHOWN}
    return "  ".join(f"{name} {value:.3g}" for name, value in known.items() if value is not None)
