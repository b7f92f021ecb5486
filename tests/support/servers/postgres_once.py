"""Starts PostgreSQL in a folder, tries to read and write files outside it, and stops it.

    python -P -m tests.support.servers.postgres_once FOLDER FILE

Prints PostgreSQL's results of reading FILE, then of writing beside it; a failure to start is one line and exit code 1.
"""

import sys
from pathlib import Path

import psycopg2

from cli.stack import postgres
from cli.stack.child import Child, ChildError


def main(folder: Path, file: Path) -> int:
    """Run the program; an exit code."""
    try:
        postgres.prepare(folder / "data")
        program, url = postgres.program(folder / "data", log=folder / "postgres.log")
        child = Child(program)
        child.start()
        try:
            child.wait_ready(120)
            print(_query_result(url, "SELECT pg_read_file(%s)", str(file)))
            print(_query_result(url, "COPY (SELECT 1) TO %s", str(file.with_name("written"))))
        finally:
            child.stop(60)
    except ChildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _query_result(url: str, statement: str, argument: str) -> str:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, (argument,))
    except psycopg2.Error as error:
        return str(error).splitlines()[0]
    finally:
        connection.close()
    return "allowed"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
