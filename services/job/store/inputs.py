"""The table `job_inputs`: pictures that callers brought as bytes."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

#: Index of the mask; input images count from 0.
MASK = -1


def add(connection: Connection, job_id: str, pictures: Mapping[int, bytes]) -> None:
    """Keep pictures by index."""
    if pictures:
        connection.execute(
            text("INSERT INTO job_inputs (job_id, index, data) VALUES (:job_id, :index, :data)"),
            [{"job_id": job_id, "index": index, "data": data} for index, data in pictures.items()],
        )


def get(connection: Connection, job_id: str, index: int) -> bytes | None:
    """Read one picture."""
    statement = text("SELECT data FROM job_inputs WHERE job_id = :job_id AND index = :index")
    data = connection.execute(statement, {"job_id": job_id, "index": index}).scalar_one_or_none()
    return None if data is None else bytes(data)
