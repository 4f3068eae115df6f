"""What flowkit needs of TensorFlow."""
