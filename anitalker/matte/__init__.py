"""Portrait mattes: which part of each pixel belongs to the people in a picture, and their own colours there."""
