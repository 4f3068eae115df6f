"""What flowkit needs of PyTorch."""
