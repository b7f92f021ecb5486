"""The gateway for tests: the application, a fake, requests and responses of its API."""
