"""Training, data preparation, evaluation and export; run as python -m scripts.<name>."""
