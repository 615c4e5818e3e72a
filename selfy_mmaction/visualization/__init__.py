"""Pictures of what networks see and of how they fare."""
