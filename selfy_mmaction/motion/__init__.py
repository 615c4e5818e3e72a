"""The synthetic motion study: clips, trainings and tables; no other data."""
