"""Chaos: the whole stack as real processes, faults at bad moments, and a check of the whole history afterwards."""
