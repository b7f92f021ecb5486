"""The embedded PostgreSQL's folder, where its making is cut off."""

import subprocess
import sys
from pathlib import Path

from cli.stack import postgres

#: Makes a cluster and dies where it would be moved to its place.
DYING = """
import os, sys
from pathlib import Path
from cli.stack import postgres
Path.replace = lambda *_: os._exit(42)
postgres.prepare(Path(sys.argv[1]))
"""


def test_a_start_that_dies_leaves_the_password_in_one_place_and_the_next_start_tidies_up(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    assert subprocess.run([sys.executable, "-P", "-c", DYING, str(data)], check=False).returncode == 42
    copied = [path for path in tmp_path.rglob("*") if path.is_file() and "password" in path.name]
    assert copied == [tmp_path / "postgres.password"]
    postgres.prepare(data)
    # Or after the cluster was moved: what is left beside it goes at the next start.
    (tmp_path / "postgres.new").mkdir()
    postgres.prepare(data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["postgres", "postgres.password"]
