"""The machine: devices, number formats, transfers, and what makes it quicker."""
