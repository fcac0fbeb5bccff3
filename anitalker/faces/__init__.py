"""Faces in pictures: detection, landmarks, crops, and pasting crops back."""
