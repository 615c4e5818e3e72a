"""What networks cost and how they fare: numbers and tables, no pictures."""
