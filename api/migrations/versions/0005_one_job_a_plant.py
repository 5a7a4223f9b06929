"""At most one job of a plant runs at once; those beside it wait."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        "UPDATE jobs SET state = 'queued', worker = NULL, lease_until = NULL WHERE state = 'running' AND EXISTS "
        "(SELECT 1 FROM jobs AS other WHERE other.plant = jobs.plant AND other.state = 'running' AND "
        "(other.created < jobs.created OR (other.created = jobs.created AND other.id < jobs.id)))"
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "one_running_job_a_plant", "jobs", ["plant"], unique=True, sqlite_where=running, postgresql_where=running
    )
