"""Encoders of pictures and speech. They import nothing else of this project, and each other relatively."""
