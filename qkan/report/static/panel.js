// The panel of the chosen edge.
const MEANINGS = { fixed: "fixed gate", trainable: "trainable angle", encoding: "upload", channel: "noise" };

function showPanel({ layer, output, input }) {
  const place = edgeAt(layer, output, input), at = layer.at[place], living = layer.living[place];
  byId("panel-title").textContent = `${layerTitle(layer)}: input ${inputName(layer, input)} → output ${outputName(layer, output)}`;
  byId("panel-about").textContent = about(layer, place);
  byId("panel-body").hidden = !living || at < 0;
  if (!living || at < 0) return;
  drawCurve(layer, place, curveOf(layer, place));
  showCircuit(layer, at);
  showSpectrum(layer, place, at);
  showFormula(layer, place);
  showAngles(layer, at);
}

function about(layer, place) {
  const score = `score ${shown(layer.score[place])}, ${Math.round(100 * share(layer, place))} % of the largest of ${layer.name} (${layer.kind})`;
  if (!layer.living[place]) return "This edge was removed: it adds nothing.";
  if (layer.at[place] < 0) {
    return `${score}. The page holds curve, circuit, angles and formula of the ${layer.details.count} strongest edges of this layer only, of ${layer.summary.edges}; this one is not among them. Write the report with --edges to keep more.`;
  }
  const curve = layer.details.curve;
  const how = curve === "samples" ? `; the curve is drawn through ${layer.details.points} values` : curve === "none" ? `; no curve: ${layer.details.reason}` : "";
  return score + how;
}

function angleOf(details, name, at, position) {
  const own = details[name];
  return own ? own.values[at * own.count + position] : null;
}

function uploadText(layer, at, position) {
  const { circuit, details } = layer, symbol = details.argument ? "u" : "x";
  const weight = circuit.weights ? circuit.weights[position] : angleOf(details, "encoding_weight", at, position);
  const bias = angleOf(details, "encoding_bias", at, position);
  const factor = weight === 1 ? "" : weight === -1 ? "−" : circuit.weights ? String(weight).replace("-", "−") : shown(weight);
  return `${factor}${symbol}${bias ? signed(bias, "") : ""}`;
}

function showCircuit(layer, at) {
  const home = byId("circuit");
  home.replaceChildren();
  const circuit = layer.circuit;
  if (!circuit) {
    home.append(element("p", `${layer.kind}: a classical edge, which has no circuit.`, { class: "note" }));
    return;
  }
  const wire = element("div", null, { class: "wire" });
  wire.append(element("span", "|0⟩"));
  for (const gate of circuit.operations) {
    const box = element("span", gate.source === "channel" ? "" : gate.name, { class: `gate ${gate.source}` });
    gate.noise.forEach((channel) => box.append(element("small", channel)));
    if (gate.source === "trainable") box.append(element("small", shown(angleOf(layer.details, "theta", at, gate.at))));
    if (gate.source === "encoding") box.append(element("small", uploadText(layer, at, gate.at)));
    wire.append(box);
  }
  wire.append(element("span", "⟨Z⟩", { class: "meter" }));
  const legend = element("div", null, { class: "legend" });
  for (const source of new Set(circuit.operations.map((gate) => gate.source))) {
    const entry = element("span");
    entry.append(element("i", "", { class: `gate ${source}`, style: "min-width:0;padding:0" }), MEANINGS[source]);
    legend.append(entry);
  }
  home.append(wire, legend);
  if (circuit.readout === "amplitude") home.append(element("p", "read out as the amplitude √p₀ − √p₁ = z / √(1 + √(1 − z²)), z = ⟨Z⟩", { class: "note" }));
}

function showSpectrum(layer, place, at) {
  const details = layer.details, found = spectrumOf(layer, place);
  byId("spectrum-title").textContent = details.basis ? "Coefficients" : "Spectrum";
  byId("spectrum").hidden = !found && !details.basis;
  byId("spectrum-note").textContent = spectrumNote(layer, found);
  if (found) {
    drawBars(found.harmonics, found.amplitudes, `harmonic k${details.argument ? " of u" : ""}`, "k = %{x}: %{y:.4g}<extra></extra>");
  } else if (details.basis) {
    const { count, values, name } = details.basis;
    drawBars(Array.from({ length: count }, (_, f) => f), Array.from(row(values, at, count)), `function of the basis ${plain(name)}`, "%{x}: %{y:.4g}<extra></extra>");
  }
}

function spectrumNote(layer, found) {
  const details = layer.details;
  if (details.basis) return details.basis["σ"] ? `the last one is the base branch, ${details.basis["σ"]}` : "";
  if (details.curve === "products") return "trainable encoding weights: real frequencies, sums of ± weights, and no harmonics";
  if (!found) return details.curve === "waves" ? "no harmonics: the edge is constant" : "no finite Fourier series";
  const parts = [];
  if (details.gain) parts.push("of z = ⟨Z⟩, before the amplitude readout");
  if (details.base) parts.push(`without the base branch, ${details.activation.name}`);
  return parts.join("; ");
}

function showFormula(layer, place) {
  const { lines, note } = formulaOf(layer, place);
  byId("formula").replaceChildren(...lines.map((line) => element("p", line)));
  if (note) byId("formula").append(element("p", note, { class: "note" }));
}

function showAngles(layer, at) {
  const home = byId("angles"), details = layer.details;
  home.replaceChildren();
  const rows = [];
  for (const [name, symbol] of [["theta", "θ"], ["encoding_weight", "w"], ["encoding_bias", "b"]]) {
    const own = details[name];
    for (let n = 0; own && n < own.count; n++) {
      const value = own.values[at * own.count + n];
      rows.push([`${symbol}${n}`, shown(value, 5), symbol === "w" ? "" : `${shown(value / Math.PI, 4)} π`]);
    }
  }
  if (!rows.length) {
    const lowered = layer.kind === "LoweredLinear" ? "Lowered: the angles were folded into the coefficients of the formula." : "None.";
    home.append(element("p", lowered, { class: "note" }));
    return;
  }
  const table = element("table");
  table.append(headOf(["", "value", "in units of π"], [1, 2]));
  const body = element("tbody");
  rows.forEach((cells) => body.append(rowOf(cells, [1, 2])));
  table.append(body);
  home.append(table);
}

function headOf(names, numeric = []) {
  const head = element("thead"), line = element("tr");
  names.forEach((name, n) => line.append(element("th", name, numeric.includes(n) ? { class: "number" } : {})));
  head.append(line);
  return head;
}

function rowOf(cells, numeric = []) {
  const line = element("tr");
  cells.forEach((cell, n) => line.append(element("td", cell, numeric.includes(n) ? { class: "number" } : {})));
  return line;
}
