"""Prometheus as tests run it, and the dashboards and alert rules that it evaluates."""
