"""What the training scripts share: data, losses, the loop."""
