"""Marks that say a video is synthetic: credentials, watermark, label; and their check."""
