"""The Images API of OpenAI over durable jobs: what it asks becomes a job, what becomes of the job is told its way."""
