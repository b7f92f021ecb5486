"""What a generator has to decide about a job, its calls and its images. Standard library only."""
