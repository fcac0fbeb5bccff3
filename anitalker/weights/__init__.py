"""Weight files: the registry, downloads, and their tensors."""
