"""What flowkit needs of Keras's numpy engine."""
