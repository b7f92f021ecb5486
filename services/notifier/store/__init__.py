"""SQL of webhooks: one function per question or change, each inside the caller's transaction."""
