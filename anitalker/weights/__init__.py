"""Weight files: the registry, downloads, tensors."""
