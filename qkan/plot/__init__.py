"""Figures. Every function returns a matplotlib figure, which belongs to no window, and writes nothing.

Save it with ``figure.savefig("name.pdf")``; notebooks show it. All but heat maps is drawn as vectors.
"""

from qkan.plot.circuits import circuit as circuit
from qkan.plot.curves import training_curves as training_curves
from qkan.plot.edge_curves import edge as edge
from qkan.plot.edge_curves import edges as edges
from qkan.plot.heatmaps import scores as scores
from qkan.plot.networks import network as network
from qkan.plot.spectra import spectrum as spectrum
from qkan.plot.trials import trial_panels as trial_panels

__all__ = ["circuit", "edge", "edges", "network", "scores", "spectrum", "training_curves", "trial_panels"]
