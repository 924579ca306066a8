"""Drawings of the circuits: fixed gates grey, trainable ones blue, uploads orange.

A picture depends on the version of matplotlib; so it carries its gates as text, and that is what is compared.
"""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from symbols import gates

COLOURS = {"fixed": "#e4e4e4", "trainable": "#cfe2f7", "upload": "#fbdcb8"}
WIDTHS = {"fixed": 0.6, "trainable": 0.8, "upload": 1.5}
LETTERS = {"Hadamard": "H", "PauliX": "X", "PauliZ": "Z"}
GAP, HEIGHT, INCH = 0.22, 0.9, 0.66  # of units; INCH converts them


def kind(angle):
    """Return which kind of gate has this angle."""
    return "fixed" if not angle else "trainable" if angle.startswith("theta") else "upload"


def label(gate, angle):
    """Return what is written on a gate."""
    mathematics = angle.replace("theta", r"\theta").replace(" * ", r"\,")
    return LETTERS.get(gate, gate) + (f"\n${mathematics}$" if angle else "")


def drawn(name):
    """Return the gates of an ansatz in terms of x, or of u where that is another thing."""
    return gates(name, "u" if name == "px" else "x")


def draw(name):
    """Return the figure of an ansatz."""
    width = GAP + sum(WIDTHS[kind(angle)] + GAP for _, angle in drawn(name))
    figure = Figure(figsize=((width + 1.6) * INCH, 1.3 * HEIGHT * INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-0.7, width + 0.9), ylim=(-0.65 * HEIGHT, 0.65 * HEIGHT))
    axes.axis("off")
    axes.plot([0, width], [0, 0], color="black", linewidth=1, zorder=0)
    axes.text(-0.1, 0, r"$|0\rangle$", ha="right", va="center", fontsize=13)
    axes.text(width + 0.1, 0, r"$\langle Z \rangle$", ha="left", va="center", fontsize=13)
    left = GAP
    for gate, angle in drawn(name):
        size, colour = WIDTHS[kind(angle)], COLOURS[kind(angle)]
        axes.add_patch(Rectangle((left, -HEIGHT / 2), size, HEIGHT, facecolor=colour, edgecolor="black"))
        axes.text(left + size / 2, 0, label(gate, angle), ha="center", va="center", fontsize=11, linespacing=1.4)
        left += size + GAP
    return figure


def description(name):
    """Return the gates as one line of text."""
    return f"{name}: " + " ".join(f"{gate}({angle})" if angle else gate for gate, angle in drawn(name))


def write(name, path):
    """Write the drawing of an ansatz."""
    draw(name).savefig(path, dpi=110, metadata={"Software": None, "Description": description(name)})


def agrees(name, path):
    """Return whether a file is a drawing of the gates of an ansatz."""
    with Image.open(path) as picture:
        return picture.info.get("Description") == description(name)
