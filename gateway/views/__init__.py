"""What a response says: JSON views of jobs, attempts, providers and queues, and what a user interface shows."""
