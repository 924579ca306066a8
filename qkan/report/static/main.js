// What the page does when it opens, and when an edge is chosen.
let current = null; // the chosen edge: {layer, output, input}
let viewed = 0; // the layer whose scores are shown

function select(edge) {
  current = edge;
  showPanel(edge);
  showEdges();
  drawNetwork(current);
  if (edge.layer.number !== viewed) viewLayer(edge.layer.number);
  else drawHeatmap(edge.layer, current);
}

function viewLayer(number) {
  viewed = number;
  [...byId("layer-tabs").children].forEach((tab, n) => tab.setAttribute("aria-selected", n === number));
  drawHeatmap(report.layers[number], current);
  drawNodes(report.layers[number]);
}

function showHead() {
  byId("title").textContent = report.title;
  const total = report.layers.reduce((sum, layer) => sum + layer.summary.edges, 0);
  const removed = report.layers.reduce((sum, layer) => sum + layer.summary.removed, 0);
  byId("lead").textContent = `${report.model} with ${report.layers.length} layer${report.layers.length > 1 ? "s" : ""} of edges: ${total} edges${removed ? `, ${removed} removed` : ""}.`;
  byId("notes").append(...report.notes.map((note) => element("li", note)), element("li", `Scores and densities: ${report.inputs}.`));
  const parts = report.layers.flatMap(({ details, summary }, number) =>
    details.count < summary.edges ? [`${details.count} strongest of ${summary.edges} edges of layer ${number}`] : []);
  if (parts.length) {
    byId("notes").append(element("li", `Left out to keep the page small: curve, angles and formula are here for the ${parts.join(", the ")} only; scores are of all edges (--edges sets how many).`));
  }
}

function showNetworkNote() {
  const partly = report.drawing.filter((run) => !run.whole);
  const parts = ["Width and strength of a line: the score of the edge, relative to the largest of its layer. Click a line to see its edge."];
  if (partly.length) {
    const counts = partly.flatMap((run) => run.layers.map((number, level) => `${run.edges[level].length} of ${report.layers[number].summary.edges} in layer ${number}`));
    parts.push(`Drawn is the connected part with the strongest edges: ${counts.join(", ")}; all others are in the map of scores and in the table.`);
  }
  const others = report.others.map((one) => `${one.name}: ${one.kind}(${one.about})`);
  if (others.length) parts.push(`Around these edges: ${others.slice(0, 6).join("; ")}${others.length > 6 ? `; and ${others.length - 6} more, listed below` : ""}.`);
  byId("network-note").textContent = parts.join(" ");
}

function showLayers() {
  const table = byId("layers"), body = element("tbody"), numeric = [3, 4, 5, 6, 7];
  table.append(headOf(["layer", "name", "class", "inputs → outputs", "edges", "removed", "parameters", "largest score", "about"], numeric));
  for (const layer of report.layers) {
    const { edges, removed, parameters, about } = layer.summary;
    body.append(rowOf([layer.number, layer.name, layer.kind, `${layer.inputs} → ${layer.outputs}`, edges, removed, parameters, shown(layer.largest), about], numeric));
  }
  for (const one of report.others) body.append(rowOf(["", one.name, one.kind, "", "", "", one.parameters, "", one.about], numeric));
  table.append(body);
}

function showCheck() {
  const { rows, note, passed } = report.check;
  byId("check-note").textContent = `${note} `;
  if (!rows.length) return;
  byId("check-note").append(element("span", passed ? "Passed." : "FAILED.", { class: passed ? "good" : "bad" }));
  const body = element("tbody"), numeric = [5, 6, 7, 8];
  byId("check").append(headOf(["layer", "edges", "ansatz", "dtype", "solver", "largest deviation of ⟨Z⟩", "of gradients", "tolerance", "seconds", "within"], numeric));
  for (const one of rows) {
    const line = rowOf([one.layer, one.edges, one.ansatz, one.dtype, one.solver, shown(one.value), shown(one.gradient), shown(one.tolerance), shown(one.seconds), null], numeric);
    line.lastChild.append(element("span", one.passed ? "yes" : "no", { class: one.passed ? "good" : "bad" }));
    body.append(line);
  }
  byId("check").append(body);
}

function setUpTraining() {
  if (!report.training) {
    byId("training").append(element("p", "No history of the training was given.", { class: "note" }));
    return;
  }
  report.training.panels.forEach(() => byId("training").append(element("div", null, { class: "figure" })));
}

// Figures after the first look wait until they are in sight.
function drawWhenSeen() {
  if (!report.training) return;
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    drawTraining(report.training);
  });
  watcher.observe(byId("training"));
}

function setUpTabs() {
  report.layers.forEach((layer) => {
    const tab = element("button", `layer ${layer.number}: ${layer.inputs} → ${layer.outputs}`, { type: "button", role: "tab" });
    tab.addEventListener("click", () => viewLayer(layer.number));
    byId("layer-tabs").append(tab);
  });
}

function listenToFigures() {
  byId("network").on("plotly_click", ({ points }) => {
    const found = points[0].customdata;
    if (found) select({ layer: report.layers[found[0]], output: found[1], input: found[2] });
  });
  byId("heatmap").on("plotly_click", ({ points }) => {
    select({ layer: report.layers[viewed], output: points[0].y, input: points[0].x });
  });
  byId("nodes").on("plotly_click", ({ points }) => {
    const layer = report.layers[viewed], point = points[0];
    byId("filter-layer").value = String(viewed);
    byId("filter-input").value = String(layer.image ? point.y * layer.image[2] + point.x : point.customdata);
    filterEdges();
  });
}

function strongestEdge() {
  for (const layer of report.layers) {
    if (layer.details.count) {
      const place = layer.details.places[0];
      return { layer, output: Math.floor(place / layer.inputs), input: place % layer.inputs };
    }
  }
  return null;
}

function redraw() {
  drawNetwork(current);
  viewLayer(viewed);
  if (current) showPanel(current);
  if (report.training && byId("training").querySelector(".plot-container")) drawTraining(report.training);
}

async function main() {
  showHead();
  const [buffer, code] = await Promise.all([unpacked("report-arrays"), unpacked("report-plotly")]);
  report.layers = resolved(report.layers, arraysFrom(buffer));
  prepare(report.layers);
  document.head.append(element("script", new TextDecoder().decode(code)));
  showNetworkNote();
  showLayers();
  showCheck();
  setUpTraining();
  setUpTable();
  setUpTabs();
  current = strongestEdge();
  filterEdges();
  redraw();
  drawWhenSeen();
  listenToFigures();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  byId("footer").textContent = `Written by qkan; figures by plotly.js ${Plotly.version}, which is part of this file. The page asks no network for anything.`;
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

main().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `This page could not be drawn: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
