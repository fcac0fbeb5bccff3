"""Faces in pictures: detection, landmarks, crops, and the way back."""
