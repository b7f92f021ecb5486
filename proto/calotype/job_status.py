"""Which statuses of a job are final. job-service's states have the same names as the statuses of REST and protobuf."""

#: Statuses that no worker changes any more; a user may still retry a failed job. A test compares them with
#: job-service's table of transitions.
FINAL_STATUSES = ("completed", "failed", "canceled")
