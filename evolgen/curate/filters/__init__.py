"""Filters: small pure rules over finished rows. `catalogue` lists them, `selection` makes a filter of some."""
