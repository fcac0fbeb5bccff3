"""The benchmark in pieces: stopwatch and table, our models, the public original, whole jobs."""
