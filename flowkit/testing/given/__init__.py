"""What is checked, and what it is tried on: a bijector, its copies, examples, measured errors."""
