"""Edges with angles of their own: turns as data, and layers of them in blocks."""
