"""Many videos from a table of jobs."""
