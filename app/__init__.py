"""The web page; run from the checkout with python -m app, never installed."""
