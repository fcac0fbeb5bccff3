"""Encoders: what we see and hear becomes features. Imports nothing else of this project."""
