// The table of edges: filtered, sorted, a page at a time.
const PAGE = 15;
const COLUMNS = [["layer", 0], ["input", 1], ["output", 1], ["score", 1], ["share of the largest", 1], ["details", 0]];
const table = { column: 3, down: true, first: 0, order: [], layer: [], place: [] };

function collectEdges() {
  const total = report.layers.reduce((sum, layer) => sum + layer.score.length, 0);
  table.layer = new Uint16Array(total);
  table.place = new Uint32Array(total);
  let n = 0;
  for (const layer of report.layers) {
    for (let place = 0; place < layer.score.length; place++, n++) {
      table.layer[n] = layer.number;
      table.place[n] = place;
    }
  }
}

function keyOf(column) {
  const of = (n) => report.layers[table.layer[n]];
  return [
    (n) => table.layer[n],
    (n) => table.place[n] % of(n).inputs,
    (n) => Math.floor(table.place[n] / of(n).inputs),
    (n) => of(n).score[table.place[n]],
    (n) => share(of(n), table.place[n]),
    (n) => (of(n).at[table.place[n]] < 0 ? 0 : 1),
  ][column];
}

function matches(text, number, name) {
  return text === "" || text === String(number) || (!/^\d+$/.test(text) && name.toLowerCase().includes(text.toLowerCase()));
}

function filterEdges() {
  const number = byId("filter-layer").value, least = Number(byId("filter-share").value) / 100;
  const input = byId("filter-input").value.trim(), output = byId("filter-output").value.trim();
  const removed = byId("filter-removed").checked;
  const kept = [];
  for (let n = 0; n < table.place.length; n++) {
    const layer = report.layers[table.layer[n]], place = table.place[n];
    if (number !== "" && layer.number !== Number(number)) continue;
    if (!removed && !layer.living[place]) continue;
    if (least > 0 && share(layer, place) < least) continue;
    if (input && !matches(input, place % layer.inputs, inputName(layer, place % layer.inputs))) continue;
    const o = Math.floor(place / layer.inputs);
    if (output && !matches(output, o, outputName(layer, o))) continue;
    kept.push(n);
  }
  const key = keyOf(table.column), keys = new Float64Array(table.place.length);
  kept.forEach((n) => { keys[n] = key(n); });
  const direction = table.down ? -1 : 1;
  table.order = kept.sort((a, b) => direction * (keys[a] - keys[b]) || a - b);
  table.first = 0;
  showEdges();
}

function showEdges() {
  const shownRows = table.order.slice(table.first, table.first + PAGE), end = table.first + shownRows.length;
  byId("range").textContent = table.order.length ? `${table.first + 1} to ${end} of ${table.order.length} edges` : "no edge passes the filters";
  byId("earlier").disabled = table.first === 0;
  byId("later").disabled = end >= table.order.length;
  byId("edges").tBodies[0].replaceChildren(...shownRows.map(edgeRow));
  [...byId("edges").tHead.rows[0].cells].forEach((cell, column) => {
    cell.setAttribute("aria-sort", column === table.column ? (table.down ? "descending" : "ascending") : "none");
  });
}

function edgeRow(n) {
  const layer = report.layers[table.layer[n]], place = table.place[n];
  const input = place % layer.inputs, output = Math.floor(place / layer.inputs), part = share(layer, place);
  const held = !layer.living[place] ? "removed" : layer.at[place] < 0 ? "no" : "yes";
  const line = rowOf([layerTitle(layer), inputName(layer, input), outputName(layer, output), shown(layer.score[place]), null, held], [1, 2, 3]);
  const bar = element("span", null, { class: "bar" });
  bar.append(element("i", null, { style: `width:${100 * part}%` }));
  line.cells[4].append(bar, `${(100 * part).toFixed(0)} %`);
  line.tabIndex = 0;
  const pick = () => select({ layer, output, input });
  line.addEventListener("click", pick);
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(); });
  if (current && current.layer === layer && current.output === output && current.input === input) line.classList.add("chosen");
  return line;
}

function setUpTable() {
  collectEdges();
  COLUMNS.forEach(([name, numeric], column) => {
    const cell = element("th", null, numeric && column !== 4 ? { class: "number", scope: "col" } : { scope: "col" });
    const button = element("button", name, { type: "button" });
    button.addEventListener("click", () => {
      table.down = column === table.column ? !table.down : column >= 3;
      table.column = column;
      filterEdges();
    });
    cell.append(button);
    byId("edges").tHead.rows[0].append(cell);
  });
  byId("filter-layer").append(element("option", "all", { value: "" }));
  report.layers.forEach((layer) => byId("filter-layer").append(element("option", `${layer.number}: ${layer.name}`, { value: layer.number })));
  byId("filters").addEventListener("input", filterEdges);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filterEdges));
  byId("earlier").addEventListener("click", () => { table.first -= PAGE; showEdges(); });
  byId("later").addEventListener("click", () => { table.first += PAGE; showEdges(); });
}
