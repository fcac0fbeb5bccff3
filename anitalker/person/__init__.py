"""A person of one's own: files that hold one, and how a video becomes one."""
