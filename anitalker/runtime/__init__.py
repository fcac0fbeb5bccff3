"""Devices, number formats, transfers between host and device, and faster equivalents of some torch calls."""
