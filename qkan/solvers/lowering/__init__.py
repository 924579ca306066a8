"""Coefficients of edges with a shared basis: nodes, the recursion of amplitudes, Bloch vectors under noise."""
