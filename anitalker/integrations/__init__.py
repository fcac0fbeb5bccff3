"""Live faces in other programs: LiveKit agents, a virtual camera."""
