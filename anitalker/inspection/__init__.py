"""What the motion encoder looks at, what its numbers do, and where its codes lie; needs the extra `inspect`."""
