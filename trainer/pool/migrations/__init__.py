"""The steps that bring a pool database to the present schema."""
