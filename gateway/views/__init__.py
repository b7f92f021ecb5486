"""Builds the content of responses: JSON views of jobs, attempts, providers and queues, and display states."""
