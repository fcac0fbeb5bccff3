"""Model families behind one protocol, and functions that load them."""
