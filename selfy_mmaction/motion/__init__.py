"""The synthetic study: its clips, its networks and what became of them."""
