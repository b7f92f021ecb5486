"""The table `job_inputs`: input images that were sent as bytes."""

from collections.abc import Collection, Mapping

from common.sql import Connection, text

#: Index of the mask; input images count from 0.
MASK = -1


def add(connection: Connection, job_id: str, images: Mapping[int, bytes]) -> None:
    """Inserts the bytes of images, by index."""
    statement = text("INSERT INTO job_inputs (job_id, index, data) VALUES (:job_id, :index, :data)")
    for index, data in images.items():
        connection.execute(statement, {"job_id": job_id, "index": index, "data": data})


def remove(connection: Connection, job_ids: Collection[str]) -> None:
    """Deletes the bytes of the images of jobs that were not made after all."""
    statement = text("DELETE FROM job_inputs WHERE job_id = ANY(:job_ids)")
    connection.execute(statement, {"job_ids": list(job_ids)})


def get(connection: Connection, job_id: str, index: int) -> bytes | None:
    """Returns the bytes of one image; None if there is none at this index."""
    statement = text("SELECT data FROM job_inputs WHERE job_id = :job_id AND index = :index")
    data = connection.execute(statement, {"job_id": job_id, "index": index}).scalar()
    return None if data is None else bytes(data)
