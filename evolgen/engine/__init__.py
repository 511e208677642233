"""Asking, scheduling and committing: what turns a pipeline into a run."""
