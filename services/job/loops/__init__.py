"""Background loops of job-service: facts in, outbox out, watchers, stale jobs, purging."""
