"""Statements that took the most of PostgreSQL's time, per job: `pipeline --top N` prints them."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url, text

from cli.stack.state import StackState, read_state
from common.database_url import driver_url
from tests.benchmarks.running import ROOT

STATEMENTS = """
SELECT calls, total_plan_time + total_exec_time, total_plan_time, query FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY 2 DESC
"""


def superuser(running: StackState, data: Path) -> Engine:
    """Connections as the superuser."""
    password = (data / "postgres.password").read_text().strip()
    url = make_url(running.database_url).set(username="postgres", password=password)
    return create_engine(driver_url(url.render_as_string(hide_password=False)))


def watch_statements(data: Path) -> StackState:
    """Starts the stack again with pg_stat_statements, which the server loads only at its start."""
    cli = [sys.executable, "-P", "-m", "cli"]
    subprocess.run([*cli, "down", "--data", str(data)], check=True, cwd=ROOT)
    with (data / "postgres" / "postgresql.conf").open("a") as file:
        file.write("shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track_planning = on\n")
    up = [*cli, "up", "--detach", "--require-auth", "--http", "127.0.0.1:0", "--data", str(data)]
    subprocess.run(up, check=True, cwd=ROOT)
    running = read_state(data)
    assert running is not None
    with superuser(running, data).begin() as connection:
        connection.execute(text("CREATE EXTENSION pg_stat_statements"))
    return running


def statements(running: StackState, data: Path, jobs: int, *, top: int) -> None:
    """Prints the statements that took the most of PostgreSQL's time."""
    with superuser(running, data).begin() as connection:
        rows = connection.execute(text(STATEMENTS)).all()
        made, taken, planned = (sum(row[column] for row in rows) / jobs for column in (0, 1, 2))
        print(f"statements per job: {made:.1f}, ms: {taken:.2f}, planning {planned:.2f}")
        for calls, total, plan, query in rows[:top]:
            shortened = " ".join(query.split())[:110]
            print(f"{calls / jobs:6.2f} calls {total / jobs:7.3f} ms (plan {plan / jobs:.3f}) {shortened}")
