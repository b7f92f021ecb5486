"""The registry of telemetry: every attribute, span and metric; docs/telemetry.md is made of it."""

from typing import Final

from common.telemetry.kinds import Attribute

# Attributes

JOB_ID: Final = Attribute("calotype.job.id", "Id of the job.")
TENANT: Final = Attribute("calotype.tenant", "Tenant of the job.")

# Spans

# Metrics
