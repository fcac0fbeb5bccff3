"""`anitalker serve`: REST and WebRTC. The page in `app` shares its limits, its job queue and its voices."""
