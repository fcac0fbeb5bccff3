"""Live faces in other programs: LiveKit agents, Pipecat, a virtual camera."""
