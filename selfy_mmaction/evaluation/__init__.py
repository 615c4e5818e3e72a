"""Scores, costs and logs of networks, and tables of them."""
