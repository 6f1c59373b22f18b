"""Acquisition: from logits to one score per patch; the same torch modules re-score the pool and stand in the task graph."""
