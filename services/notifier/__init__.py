"""notifier-service: delivers final events of jobs to webhook endpoints and callback URLs."""
