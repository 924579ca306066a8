// Values of an edge: from its exact series, or from samples.
const ARGUMENTS = {
  tanh: (x) => Math.PI / 2 - 2 * Math.atan(Math.tanh(x / 2)),
  clamp: (x) => Math.acos(Math.min(1, Math.max(-1, x))),
  none: (x) => Math.acos(x),
};

const MAPS = { tanh: "tanh x", clamp: "min(1, max(−1, x))", none: "x" };

function argumentOf(name) {
  return name ? ARGUMENTS[name] : (x) => x;
}

function row(array, at, count) {
  return array.subarray(at * count, (at + 1) * count);
}

function waves(details, u) {
  const k = details.harmonics;
  return [...k.map((one) => Math.cos(one * u)), ...k.map((one) => Math.sin(one * u))];
}

function products(details, at, u) {
  const uploads = details.encoding_weight ? details.encoding_weight.count : details.weight.length / details.count;
  const weight = row(details.weight, at, uploads), bias = row(details.bias, at, uploads);
  let found = [1];
  for (let r = 0; r < uploads; r++) {
    const t = weight[r] * u + bias[r];
    found = found.flatMap((one) => [one, one * Math.cos(t), one * Math.sin(t)]);
  }
  return found.slice(1);
}

function tabulated(table, x) {
  const position = ((x - table.low) / (table.high - table.low)) * (table.values.length - 1);
  const left = Math.min(table.values.length - 2, Math.max(0, Math.floor(position)));
  return table.values[left] + (position - left) * (table.values[left + 1] - table.values[left]);
}

function seriesValue(details, at, x) {
  const u = argumentOf(details.argument)(x);
  const functions = details.curve === "waves" ? waves(details, u) : products(details, at, u);
  const table = row(details.coefficients, at, details.functions);
  let z = details.constant[at];
  functions.forEach((one, f) => { z += table[f] * one; });
  // the amplitude readout, sqrt(p0) - sqrt(p1)
  if (details.gain) z = (details.gain[at] * z) / Math.sqrt(1 + Math.sqrt(Math.max(0, 1 - z * z)));
  return details.base ? z + details.base[at] * tabulated(details.activation, x) : z;
}

function spaced(low, high, count) {
  return Array.from({ length: count }, (_, n) => low + ((high - low) * n) / (count - 1));
}

// The curve of an edge over the range that its input takes: {x, y}, or null where there is none.
function curveOf(layer, place) {
  const details = layer.details, at = layer.at[place], input = place % layer.inputs;
  const low = layer.low[input], high = layer.high[input];
  if (at < 0 || details.curve === "none") return null;
  if (details.curve === "samples") {
    return { x: spaced(low, high, details.points), y: Array.from(row(details.samples, at, details.points)) };
  }
  const x = spaced(low, high, 301);
  return { x, y: x.map((one) => seriesValue(details, at, one)) };
}

// The harmonics of an edge and their amplitudes, or null where it is no Fourier series.
function spectrumOf(layer, place) {
  const details = layer.details, at = layer.at[place];
  if (at < 0 || details.curve !== "waves" || !details.harmonics.length) return null;
  const count = details.harmonics.length, table = row(details.coefficients, at, details.functions);
  return { harmonics: details.harmonics, amplitudes: details.harmonics.map((_, n) => Math.hypot(table[n], table[n + count])) };
}

// The formula of an edge as lines of text, and what there is to say of it.
function formulaOf(layer, place) {
  const details = layer.details, at = layer.at[place];
  if (details.formulas) return details.formulas[at] ? { lines: [details.formulas[at]], note: "" } : { lines: [], note: details.formulas_note };
  if (details.curve !== "waves" && details.curve !== "products") return { lines: [], note: "None that is short enough to be written here." };
  const u = details.argument ? "u" : "x";
  const names = details.curve === "waves" ? waveNames(details, u) : productNames(details, at, u);
  const z = summed(details.constant[at], row(details.coefficients, at, details.functions), names);
  const base = details.base ? signed(details.base[at], "σ(x)") : "";
  const lines = details.gain
    ? [`φ(x) = ${shown(details.gain[at], 4)} z / √(1 + √(1 − z²))${base}`, `z = ${z.text}`]
    : [`φ(x) = ${z.text}${base}`];
  if (details.argument) lines.push(`u = arccos ${MAPS[details.argument]}`);
  if (details.base) lines.push(`σ = ${details.activation.name}`);
  const note = z.left ? `${z.left} terms below a millionth of the largest are left out` : "";
  return { lines, note };
}

const times = (factor, name) => (factor === 1 ? name : `${factor}${name}`);

function waveNames(details, u) {
  const k = details.harmonics;
  return [...k.map((one) => `cos ${times(one, u)}`), ...k.map((one) => `sin ${times(one, u)}`)];
}

function productNames(details, at, u) {
  const uploads = details.weight.length / details.count;
  const weight = row(details.weight, at, uploads), bias = row(details.bias, at, uploads);
  let names = [""];
  for (let r = 0; r < uploads; r++) {
    const angle = `(${shown(weight[r], 4)}${u}${bias[r] ? signed(bias[r], "") : ""})`;
    names = names.flatMap((one) => [one, `${one} cos${angle}`, `${one} sin${angle}`]);
  }
  return names.slice(1).map((one) => one.trim());
}

function signed(value, name) {
  return ` ${value < 0 ? "−" : "+"} ${shown(Math.abs(value), 4)}${name ? " " + name : ""}`;
}

function summed(constant, coefficients, names) {
  const largest = coefficients.reduce((most, one) => Math.max(most, Math.abs(one)), Math.abs(constant));
  const kept = (value) => Math.abs(value) > 1e-6 * largest;
  const terms = names.map((name, f) => [coefficients[f], name]).filter(([value]) => kept(value));
  const nonzero = coefficients.filter((one) => one !== 0).length;
  const text = (kept(constant) ? " + " + shown(constant, 4) : "").replace("+ −", "− ") + terms.map(([value, name]) => signed(value, name)).join("");
  const clean = text.trim().replace(/^\+ /, "").replace(/^− /, "−");
  return { text: clean || "0", left: nonzero - terms.length };
}
