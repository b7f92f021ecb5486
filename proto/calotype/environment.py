"""Names of all settings, without their prefix `CALOTYPE_`.

A service reads the settings that it needs, and does not start when any other `CALOTYPE_` variable is unknown.
"""

SETTINGS = frozenset(
    {
        "ADMIN_LISTEN",
        "API_KEY",
        "API_KEYS_FILE",
        "BUCKET",
        "DATABASE_URL",
        "GENERATOR_SLOTS",
        "GRACE_SECONDS",
        "GRPC_IDENTITIES_FILE",
        "GRPC_LISTEN",
        "GRPC_TLS_CA_FILE",
        "GRPC_TLS_CERT_FILE",
        "GRPC_TLS_KEY_FILE",
        "GRPC_TOKEN",
        "HTTP_LISTEN",
        "IDEMPOTENCY_RETENTION_DAYS",
        "JOB_ADDRESS",
        "KEYLESS_WHILE_FREE",
        "LEASE_SECONDS",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "MAX_ATTEMPTS",
        "MAX_GENERATING_SECONDS",
        "MAX_PROCESSING_SECONDS",
        "MAX_QUEUED_SECONDS",
        "MAX_UPLOADING_SECONDS",
        "MONITOR_INTERVAL_SECONDS",
        "NATS_PASSWORD",
        "NATS_TLS_CA_FILE",
        "NATS_URL",
        "PROVIDERS_FILE",
        "PUBLIC_BASE_URL",
        "PUBLIC_CACHE_SECONDS",
        "RETENTION_DAYS",
        "STAGING_BUCKET",
        "STREAM_REPLICAS",
        "UPLOADER_SLOTS",
        "URL",
        "WORKER_ADDRESS",
        "WORKER_LISTEN",
    }
)
