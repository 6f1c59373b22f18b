"""Candidates at the centre: schema, pool, ingest, retention."""
