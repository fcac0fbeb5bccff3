"""The benchmark in pieces: the machine, our models, the public original."""
