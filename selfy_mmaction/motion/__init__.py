"""The synthetic study: its clips, trainings and tables; no other data set."""
