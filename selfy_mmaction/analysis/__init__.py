"""What networks cost and how they fare, in numbers and tables; no pictures."""
