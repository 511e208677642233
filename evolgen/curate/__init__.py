"""Filters and dedupe: pure rules over finished rows. Nothing here asks a teacher."""
