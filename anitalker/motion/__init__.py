"""Motion codes: read from pixels, made from speech, scaled, drawn from a prior."""
