"""`twin jobs`: what trains, and how far it is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.options import PLAIN, REFUSED, ApiKey, AsJson, JobId, Url, service, told

app = typer.Typer(help="Follow and cancel jobs.", **PLAIN)

COLUMNS = ["job", "plant", "state", "progress", "created", "finished", "outcome"]
PlantFilter = Annotated[str | None, typer.Option("--plant", help="Of this plant only.", show_default=False)]


@app.command("list")
def list_jobs(
    plant: PlantFilter = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
    url: Url = None,
    key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """The jobs, newest first."""
    with service(url, key) as client:
        found = [job for job, _ in zip(client.jobs(plant=plant), range(limit), strict=False)]
        if told(found, as_json):
            return
        from api.cli import show

        show.table(COLUMNS, [[*(job.get(c) for c in COLUMNS[:-1]), outcome(job)] for job in found])


@app.command("follow")
def follow_job(job: JobId, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """Show a job on the screen until it has ended; exit code 1 where it did not succeed."""
    with service(url, key) as client:
        from api.cli.follow import follow

        finish(follow(client, job), as_json)


@app.command("logs")
def job_logs(job: JobId, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """The log of a job: states, alarms, and what its workers told."""
    with service(url, key) as client:
        lines = list(client.logs(job))
        if not told(lines, as_json):
            for line in lines:
                typer.echo(f"{line['at']}  {line['level']:7}  {line['message']}")


@app.command("cancel")
def cancel_job(job: JobId, url: Url = None, key: ApiKey = None, as_json: AsJson = False) -> None:
    """Cancel a job."""
    with service(url, key) as client:
        found = client.cancel(job)
        if not told(found, as_json):
            typer.echo(f"job {job}: {found['state']}")


def finish(job: Any, as_json: bool) -> None:
    """Tell how a job ended; exit code 1 where it did not succeed."""
    if not told(job, as_json):
        typer.echo(outcome(job) if job["state"] == "succeeded" else f"job {job['job']}: {job['state']}{_reason(job)}")
    if job["state"] in ("failed", "cancelled"):
        raise typer.Exit(REFUSED)


def outcome(job: Any) -> str:
    """The twin or the fleet, or why there is none."""
    result, error = job["result"] or {}, job["error"] or {}
    if "fleet" in result:
        return f"fleet {result['fleet']}, version {result['version']}"
    return f"twin {result['twin']}" if "twin" in result else str(error.get("detail", ""))


def _reason(job: Any) -> str:
    return f": {outcome(job)}" if outcome(job) else ""
