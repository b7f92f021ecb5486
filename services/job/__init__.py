"""job-service: owns jobs, their states, their leases and the ledger of provider calls, in PostgreSQL.

Clients reach it through `JobService`, workers through `WorkerService`; nobody else reads its tables.
"""
