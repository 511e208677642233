"""Pipelines: plain async functions that are given `ask` and yield candidates."""
