"""Running MMEngine: launch, checks, checkpoints, hooks; no models or data."""
