"""The circuits by name, as functions of x and of u, and the sizes at which they are written out here."""

from mix import mix
from px import px, px_of_u
from pz import pz
from real import real
from rpz import rpz

REPS = 3  # as many uploads
ANGLES = {"pz": 8, "rpz": 4, "px": 4, "real": 3, "mix": 8}  # of that many repetitions

OF_X = {"pz": pz, "rpz": rpz, "px": px, "real": real, "mix": mix}
OF_U = OF_X | {"px": px_of_u}  # the uploads rotate by w u + b; u is x everywhere else
