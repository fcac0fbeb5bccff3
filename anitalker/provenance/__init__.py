"""Mark videos as synthetic by credentials, watermark and label, and verify these marks."""
