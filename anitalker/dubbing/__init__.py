"""Other words for an existing video: faces followed, lips moved, mouths drawn from the video's own references."""
