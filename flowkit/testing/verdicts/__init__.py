"""What was found: a broken promise, its cause, and how it is told."""
