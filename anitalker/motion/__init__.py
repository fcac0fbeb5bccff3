"""Motion codes: read from pixels, generated from speech, scaled, sampled from a prior."""
