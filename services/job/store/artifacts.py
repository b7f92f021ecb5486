"""The table `artifacts`: images that are staged or public."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from common.sql import Connection, text
from services.job.domain.jobs import Artifact
from services.job.store import rows

# The ids are a parameter of their own for the planner, which cannot estimate the number of rows in a JSON parameter.
PUBLISH_ARTIFACTS = """
UPDATE artifacts SET public_name = published.public_name, stored_at = clock_timestamp()
FROM jsonb_to_recordset(CAST(:stored AS jsonb)) AS published (job_id text, image_index smallint, public_name text)
WHERE artifacts.job_id = ANY(:job_ids) AND artifacts.job_id = published.job_id
    AND artifacts.image_index = published.image_index AND stored_at IS NULL
"""


def of_jobs(connection: Connection, job_ids: Collection[str]) -> dict[str, list[Artifact]]:
    """Returns the images of the jobs by job id, in the order of their indexes."""
    statement = text("SELECT * FROM artifacts WHERE job_id = ANY(:job_ids) ORDER BY job_id, image_index")
    found: dict[str, list[Artifact]] = defaultdict(list)
    for row in connection.execute(statement, {"job_ids": list(job_ids)}).mappings() if job_ids else ():
        found[row["job_id"]].append(Artifact(**row))
    return found


def stage(connection: Connection, artifacts: Sequence[Artifact]) -> int:
    """Inserts staged images; the first one of an index wins. Returns the number of new ones."""
    staged = [rows.to_json(artifact) for artifact in artifacts]
    return rows.insert(connection, "artifacts", staged, on_conflict="ON CONFLICT (job_id, image_index) DO NOTHING")


def publish(connection: Connection, names: Mapping[tuple[str, int], str]) -> None:
    """Records public names by (job id, image index)."""
    stored = [{"job_id": job_id, "image_index": index, "public_name": name} for (job_id, index), name in names.items()]
    parameters = {"stored": rows.as_parameter(stored), "job_ids": [job_id for job_id, _ in names]}
    connection.execute(text(PUBLISH_ARTIFACTS), parameters)
