"""The part of the page where visitors make an avatar of their own, and take it in place of a portrait."""
