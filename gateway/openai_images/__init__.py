"""OpenAI's Images API over durable jobs: its requests become jobs, and jobs become its responses and events."""
