"""The newest revision is known without Alembic, by the names of the files, and is the one that Alembic finds."""

from pathlib import Path
from types import ModuleType

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from services.job import migrations as of_job
from services.notifier import migrations as of_notifier


@pytest.mark.parametrize("migrations", [of_job, of_notifier], ids=["job", "notifier"])
def test_the_newest_revision_is_alembics(migrations: ModuleType) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(str(migrations.__file__)).parent))
    script = ScriptDirectory.from_config(config)

    assert migrations.newest_revision() == script.get_current_head()
    # Each file begins with its own revision.
    for revision in script.walk_revisions():
        assert Path(revision.path).name.startswith(f"{revision.revision}_")
