// Figures, all drawn by Plotly.
const OPTIONS = { displayModeBar: false, responsive: true };
const CLASSES = 7; // of strength, each drawn as one trace
const BEND = 25; // points of a drawn edge
const NAMED = 30; // nodes of a row up to which they are named

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Plotly reads markup in texts.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(more = {}) {
  const axis = { gridcolor: colour("grid"), zerolinecolor: colour("grid"), linecolor: colour("line"), automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("ink") },
    margin: { l: 48, r: 10, t: 12, b: 36 }, showlegend: false, hovermode: "closest",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
  };
  const merged = { ...base, ...more };
  for (const name of Object.keys(merged).filter((key) => /^[xy]axis/.test(key)).concat("xaxis", "yaxis")) {
    merged[name] = { ...axis, ...(more[name] || {}) };
  }
  return merged;
}

function scale() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return dark
    ? [[0, "#1a2028"], [0.25, "#1d4460"], [0.6, "#3c8fc0"], [1, "#d6efff"]]
    : [[0, "#f4f7fa"], [0.25, "#b5d6ea"], [0.6, "#3f93c4"], [1, "#08375c"]];
}

// Where the nodes of the drawing stand: columns from left to right, the first node on top.
function nodePlaces() {
  const columns = [];
  let across = 0;
  report.drawing.forEach((run, at) => {
    run.rows.forEach((nodes, level) => {
      const where = new Map(nodes.map((node, n) => [node, nodes.length === 1 ? 0.5 : 1 - n / (nodes.length - 1)]));
      columns.push({ run: at, level, nodes, where, x: across });
      across += 1;
    });
    across += 0.5;
  });
  return columns;
}

function edgeTraces(columns) {
  const classes = Array.from({ length: CLASSES }, () => ({ x: [], y: [], customdata: [] }));
  report.drawing.forEach((run, at) => {
    const own = columns.filter((column) => column.run === at);
    run.layers.forEach((number, level) => {
      const layer = report.layers[number];
      for (const [output, input] of run.edges[level]) {
        const place = edgeAt(layer, output, input), part = share(layer, place);
        const kind = classes[Math.min(CLASSES - 1, Math.floor(part * CLASSES))];
        const [left, right] = [own[level], own[level + 1]];
        const [from, to] = [left.where.get(input), right.where.get(output)];
        for (let n = 0; n < BEND; n++) {
          const t = n / (BEND - 1), smooth = t * t * (3 - 2 * t);
          kind.x.push(left.x + t * (right.x - left.x));
          kind.y.push(from + smooth * (to - from));
          kind.customdata.push([number, output, input, layer.score[place]]);
        }
        kind.x.push(null); kind.y.push(null); kind.customdata.push(null);
      }
    });
  });
  return classes.map((kind, n) => ({
    ...kind, type: "scatter", mode: "lines", opacity: 0.13 + (0.87 * (n + 0.5)) / CLASSES,
    line: { color: colour("accent"), width: 0.7 + (3.6 * (n + 0.5)) / CLASSES },
    hovertemplate: "layer %{customdata[0]}, input %{customdata[2]} → output %{customdata[1]}<br>score %{customdata[3]:.3g}<extra></extra>",
  })).filter((trace) => trace.x.length);
}

function nodeTrace(column) {
  const run = report.drawing[column.run], last = column.level === run.layers.length;
  const layer = report.layers[run.layers[last ? column.level - 1 : column.level]];
  const name = (node) => plain(last ? outputName(layer, node) : inputName(layer, node));
  const few = column.nodes.length <= NAMED;
  return {
    x: column.nodes.map(() => column.x), y: column.nodes.map((node) => column.where.get(node)),
    type: "scatter", mode: few ? "markers+text" : "markers", text: column.nodes.map(name),
    textposition: column.level === 0 ? "middle left" : last ? "middle right" : "top center",
    textfont: { size: 10, color: colour("soft") }, hovertemplate: "node %{text}<extra></extra>",
    marker: { size: few ? 9 : 6, color: colour("card"), line: { color: colour("ink"), width: 1.3 } }, cliponaxis: false,
  };
}

function drawNetwork(chosen) {
  const columns = nodePlaces(), traces = edgeTraces(columns), marked = chosenTrace(columns, chosen);
  const notes = columns.map((column) => columnNote(column));
  Plotly.react("network", [...traces, ...(marked ? [marked] : []), ...columns.map(nodeTrace)], layout({
    xaxis: { visible: false, range: [-0.35, columns[columns.length - 1].x + 0.35], fixedrange: false },
    yaxis: { visible: false, range: [-0.09, 1.12] },
    margin: { l: 6, r: 6, t: 6, b: 6 }, annotations: notes, hoverdistance: 14, dragmode: "pan",
  }), OPTIONS);
}

function columnNote(column) {
  const run = report.drawing[column.run], last = column.level === run.layers.length;
  const layer = report.layers[run.layers[last ? column.level - 1 : column.level]];
  const all = last ? layer.outputs : layer.inputs;
  const what = (column.level === 0 ? "input" : last ? "output" : "node") + (all === 1 ? "" : "s");
  const text = column.nodes.length < all ? `${column.nodes.length} of ${all} ${what}` : `${all} ${what}`;
  return { x: column.x, y: 1.09, text, showarrow: false, font: { size: 11, color: colour("soft") } };
}

// The chosen edge on top of the others, if both of its nodes are drawn.
function chosenTrace(columns, chosen) {
  if (!chosen) return null;
  const at = report.drawing.findIndex((run) => run.layers.includes(chosen.layer.number));
  const own = columns.filter((column) => column.run === at);
  const level = report.drawing[at].layers.indexOf(chosen.layer.number);
  const from = own[level].where.get(chosen.input), to = own[level + 1].where.get(chosen.output);
  if (from === undefined || to === undefined) return null;
  const t = spaced(0, 1, BEND);
  return {
    x: t.map((one) => own[level].x + one * (own[level + 1].x - own[level].x)),
    y: t.map((one) => from + one * one * (3 - 2 * one) * (to - from)),
    type: "scatter", mode: "lines", line: { color: colour("second"), width: 4 }, hoverinfo: "skip",
  };
}

function drawHeatmap(layer, chosen) {
  const z = Array.from({ length: layer.outputs }, (_, o) => Array.from(row(layer.score, o, layer.inputs)));
  const marked = chosen && chosen.layer === layer ? [{
    x: [chosen.input], y: [chosen.output], type: "scatter", mode: "markers", hoverinfo: "skip",
    marker: { symbol: "square-open", size: 13, color: colour("second"), line: { width: 2 } },
  }] : [];
  const bar = { title: { text: "score", side: "right" }, thickness: 10, outlinewidth: 0 };
  Plotly.react("heatmap", [{
    z, type: "heatmap", colorscale: scale(), zmin: 0, zmax: layer.largest || 1, colorbar: bar,
    hovertemplate: "input %{x} → output %{y}<br>score %{z:.3g}<extra></extra>",
  }, ...marked], layout({
    xaxis: { title: { text: "input" }, dtick: layer.inputs <= 12 ? 1 : undefined },
    yaxis: { title: { text: "output" }, dtick: layer.outputs <= 12 ? 1 : undefined },
  }), OPTIONS);
}

function inputSums(layer) {
  const sums = new Float64Array(layer.inputs);
  layer.score.forEach((score, place) => { if (layer.living[place]) sums[place % layer.inputs] += score; });
  return sums;
}

// What inputs matter: the image that they are, or the largest as bars.
function drawNodes(layer) {
  const sums = inputSums(layer);
  if (layer.image) return drawImage(layer, sums);
  const order = Array.from(sums.keys()).sort((a, b) => sums[b] - sums[a]).slice(0, 20);
  const count = order.length < layer.inputs ? `${order.length} of ${layer.inputs} inputs` : "inputs";
  Plotly.react("nodes", [{
    x: order.map((input) => sums[input]), y: order.map((input) => `${plain(inputName(layer, input))} `), customdata: order,
    type: "bar", orientation: "h", marker: { color: colour("accent") }, hovertemplate: "input %{y}<br>sum of scores %{x:.3g}<extra></extra>",
  }], layout({
    xaxis: { title: { text: `sum of scores, ${count}` } }, yaxis: { autorange: "reversed", type: "category", tickfont: { size: 10 }, dtick: 1 },
  }), OPTIONS);
}

function drawImage(layer, sums) {
  const [channels, height, width] = layer.image;
  const pixel = (r, c) => { let sum = 0; for (let k = 0; k < channels; k++) sum += sums[(k * height + r) * width + c]; return sum; };
  const z = Array.from({ length: height }, (_, r) => Array.from({ length: width }, (_, c) => pixel(r, c)));
  Plotly.react("nodes", [{
    z, type: "heatmap", colorscale: scale(), showscale: false, hovertemplate: "row %{y}, column %{x}<br>sum of scores %{z:.3g}<extra></extra>",
  }], layout({
    xaxis: { constrain: "domain", title: { text: "inputs as an image" } }, yaxis: { autorange: "reversed", scaleanchor: "x", constrain: "domain" },
  }), OPTIONS);
}

function drawCurve(layer, place, curve) {
  const input = place % layer.inputs, bins = layer.density.bins;
  const counts = Array.from(row(layer.density.counts, input, bins));
  const low = layer.low[input], step = (layer.high[input] - low) / bins;
  const density = {
    x: counts.map((_, n) => low + (n + 0.5) * step), y: counts, type: "bar", width: step, yaxis: "y2",
    marker: { color: colour("data"), opacity: 0.55 }, hovertemplate: "%{y} samples<extra></extra>", name: "density of the input",
  };
  const line = curve && {
    ...curve, type: "scatter", mode: "lines", line: { color: colour("accent"), width: 2.4 }, name: "φ(x)",
    hovertemplate: "φ(%{x:.3f}) = %{y:.4g}<extra></extra>",
  };
  Plotly.react("curve", line ? [density, line] : [density], layout({
    xaxis: { title: { text: `what enters the edge, x` }, range: [low, layer.high[input]] },
    yaxis: { title: { text: "φ(x)" }, overlaying: "y2", tickmode: "auto", zeroline: false },
    yaxis2: { side: "right", showgrid: false, showticklabels: false, range: [0, 1.15 * Math.max(1, ...counts)], zeroline: false },
    bargap: 0, margin: { l: 52, r: 8, t: 8, b: 38 },
  }), OPTIONS);
}

function drawBars(x, y, title, hover) {
  Plotly.react("spectrum", [{ x, y, type: "bar", marker: { color: colour("accent") }, hovertemplate: hover }], layout({
    xaxis: { title: { text: title }, dtick: x.length <= 30 ? 1 : undefined }, bargap: 0.35, margin: { l: 52, r: 8, t: 6, b: 38 },
  }), OPTIONS);
}

function drawTraining(training) {
  training.panels.forEach((panel, at) => {
    const place = byId("training").children[at], colours = [colour("accent"), colour("second")];
    Plotly.react(place, panel.curves.map((curve, n) => ({
      x: training.epochs, y: curve.values, name: curve.name, type: "scatter", mode: training.epochs.length > 1 ? "lines" : "markers",
      line: { color: colours[n % 2], width: 2, dash: n > 1 ? "dot" : "solid" },
    })), layout({
      xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: panel.title }, type: panel.log ? "log" : "linear" },
      showlegend: panel.curves.length > 1, legend: { orientation: "h", y: 1.12 }, hovermode: "x unified", margin: { l: 56, r: 10, t: 26, b: 38 },
    }), OPTIONS);
  });
}
