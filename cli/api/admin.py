"""`calotype admin`: jobs of any tenant, for operators."""

import click

from cli.api.admin_job import admin_job


@click.group()
def admin() -> None:
    """See and change jobs of any tenant."""


admin.add_command(admin_job)
