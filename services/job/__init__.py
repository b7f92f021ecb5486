"""job-service: owns jobs, their states and leases, and the ledger of provider calls, in PostgreSQL.

Clients use it through `JobService`, workers through `WorkerService`; no other service reads its tables.
"""
