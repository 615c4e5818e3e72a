"""Scores, costs and logs of networks; the zoo and publishing."""
