"""The evaluation protocol in pieces: metrics, what a model must offer, reenactment, speaking (docs/evaluation.md)."""
