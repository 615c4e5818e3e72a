"""Cost, speed and accuracy of networks, in numbers and tables; no pictures."""
