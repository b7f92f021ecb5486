"""What a job is and may do: states, transitions, failures, budgets, purchases. Standard library only; no I/O."""
