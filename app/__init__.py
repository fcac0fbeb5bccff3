"""The web page. Runs as `python -m app` from a checkout; an installed package has it as `anitalker.app`."""
