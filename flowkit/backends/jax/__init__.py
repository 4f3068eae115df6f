"""What flowkit needs of JAX."""
