"""Rules of webhooks: endpoints and their health, deliveries, the retry schedule. Standard library only."""
