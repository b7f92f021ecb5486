"""The table `artifacts`: images that are staged or public."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from common.sql import Connection, Row, text
from services.job.domain.jobs import Artifact
from services.job.store import rows

# The ids are a parameter of their own for the planner, which cannot estimate the number of rows in a JSON parameter.
PUBLISH_ARTIFACTS = """
UPDATE artifacts SET public_name = published.public_name, stored_at = clock_timestamp()
FROM jsonb_to_recordset(CAST(:stored AS jsonb)) AS published (job_id text, image_index smallint, public_name text)
WHERE artifacts.job_id = ANY(:job_ids) AND artifacts.job_id = published.job_id
    AND artifacts.image_index = published.image_index AND stored_at IS NULL
RETURNING artifacts.*
"""

# A statement does not see the rows that it inserts. The jobs are locked, so that nobody else stages images meanwhile.
STAGE_ARTIFACTS = """
WITH new AS (
    INSERT INTO artifacts SELECT * FROM jsonb_populate_recordset(NULL::artifacts, CAST(:staged AS jsonb))
    ON CONFLICT (job_id, image_index) DO NOTHING
    RETURNING *
)
SELECT * FROM new UNION ALL SELECT * FROM artifacts WHERE job_id = ANY(:job_ids) ORDER BY job_id, image_index
"""


def of_jobs(connection: Connection, job_ids: Collection[str]) -> dict[str, list[Artifact]]:
    """Returns the images of the jobs by job id, in the order of their indexes."""
    statement = text("SELECT * FROM artifacts WHERE job_id = ANY(:job_ids) ORDER BY job_id, image_index")
    found: dict[str, list[Artifact]] = defaultdict(list)
    for row in connection.execute(statement, {"job_ids": list(job_ids)}).mappings() if job_ids else ():
        found[row["job_id"]].append(_from_row(row))
    return found


def stage(connection: Connection, artifacts: Sequence[Artifact]) -> dict[str, list[Artifact]]:
    """Inserts staged images of locked jobs; the first one of an index wins.

    Returns all images of these jobs, new and earlier ones, by job id and in the order of their indexes.
    """
    if not artifacts:
        return {}
    job_ids = {artifact.job_id for artifact in artifacts}
    staged = rows.as_parameter([rows.to_json(artifact) for artifact in artifacts])
    found: dict[str, list[Artifact]] = {job_id: [] for job_id in job_ids}
    for row in connection.execute(text(STAGE_ARTIFACTS), {"staged": staged, "job_ids": sorted(job_ids)}).mappings():
        found[row["job_id"]].append(_from_row(row))
    return found


def publish(connection: Connection, names: Mapping[tuple[str, int], str]) -> list[Artifact]:
    """Records public names by (job id, image index); returns the images that were not public before."""
    if not names:
        return []
    stored = [{"job_id": job_id, "image_index": index, "public_name": name} for (job_id, index), name in names.items()]
    parameters = {"stored": rows.as_parameter(stored), "job_ids": [job_id for job_id, _ in names]}
    return [_from_row(row) for row in connection.execute(text(PUBLISH_ARTIFACTS), parameters).mappings()]


#: The columns that are read; a newer schema may have more.
_COLUMNS = tuple(column.name for column in fields(Artifact))


def _from_row(row: Row) -> Artifact:
    return Artifact(**{name: row[name] for name in _COLUMNS})
