"""Which patches are worth a person's time: kernels, samplers, strategies. Pure; no file, no clock, no pool."""
