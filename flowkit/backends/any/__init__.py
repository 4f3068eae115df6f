"""What an engine does that has no file of its own for a topic."""
