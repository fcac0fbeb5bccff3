"""Families of models behind one protocol, and what loads them."""
