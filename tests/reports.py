"""Reads the data of a report out of its HTML, without the package."""

import base64
import gzip
import json
import re

import numpy as np

SCRIPT = re.compile(r'<script type="[a-z/]+" id="report-([a-z]+)">(.*?)</script>', re.DOTALL)


def read(path):
    """The data of a page, with arrays in the places of arrays."""
    parts = dict(SCRIPT.findall(path.read_text(encoding="utf-8")))
    arrays = gzip.decompress(base64.b64decode(parts["arrays"]))

    def resolved(value):
        if isinstance(value, list):
            if len(value) == 3 and value[0] in ("f4", "u4", "u1"):
                return np.frombuffer(arrays, "<" + value[0], value[2], value[1])
            return [resolved(one) for one in value]
        return {name: resolved(one) for name, one in value.items()} if isinstance(value, dict) else value

    return resolved(json.loads(parts["data"]))


def curve(layer, output, input, x):
    """φ(x) of an edge from the numbers of the page, by the definition of its series."""
    details = layer["details"]
    (at,) = np.flatnonzero(details["places"] == output * layer["inputs"] + input)
    if details["curve"] == "samples":
        grid = np.linspace(layer["low"][input], layer["high"][input], details["points"])
        return np.interp(x, grid, details["samples"].reshape(-1, details["points"])[at])
    maps = {None: lambda t: t, "tanh": lambda t: np.arccos(np.tanh(t)), "none": np.arccos}
    maps["clamp"] = lambda t: np.arccos(np.clip(t, -1, 1))
    u = maps[details["argument"]](x)
    if details["curve"] == "waves":
        k = np.array(details["harmonics"])
        functions = np.concatenate([np.cos(np.multiply.outer(u, k)), np.sin(np.multiply.outer(u, k))], -1)
    else:
        functions = np.ones((*np.shape(x), 1))
        uploads = len(details["weight"]) // details["count"]
        for r in range(uploads):
            t = details["weight"].reshape(-1, uploads)[at, r] * u + details["bias"].reshape(-1, uploads)[at, r]
            factors = np.stack([np.ones_like(t), np.cos(t), np.sin(t)], -1)
            functions = (functions[..., :, None] * factors[..., None, :]).reshape(*np.shape(x), -1)
        functions = functions[..., 1:]
    z = details["constant"][at] + functions @ details["coefficients"].reshape(-1, details["functions"])[at]
    if details["gain"] is not None:
        z = details["gain"][at] * z / np.sqrt(1 + np.sqrt(np.clip(1 - z * z, 0, None)))
    if details["base"] is not None:
        table = details["activation"]
        grid = np.linspace(table["low"], table["high"], len(table["values"]))
        z = z + details["base"][at] * np.interp(x, grid, table["values"])
    return z
