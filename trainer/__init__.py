"""The centre: pool, selection, labelling, learning, release building, web."""
