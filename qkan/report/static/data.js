// What the page holds: plain values, and arrays in one compressed block.
const report = JSON.parse(document.getElementById("report-data").textContent);

async function unpacked(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const TYPES = { f4: Float32Array, u4: Uint32Array, u1: Uint8Array };

function arraysFrom(buffer) {
  return (place) => (place ? new TYPES[place[0]](buffer, place[1], place[2]) : null);
}

// Replace the places of arrays, wherever they stand, by the arrays.
function resolved(value, array) {
  if (Array.isArray(value)) {
    return value.length === 3 && value[0] in TYPES ? array(value) : value.map((one) => resolved(one, array));
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, resolved(one, array)]));
  }
  return value;
}

// Every layer gets: what its largest score is, and where among the details an edge is (-1: nowhere).
function prepare(layers) {
  layers.forEach((layer, number) => {
    layer.number = number;
    layer.largest = layer.score.reduce((most, one) => Math.max(most, one), 0);
    layer.at = new Int32Array(layer.inputs * layer.outputs).fill(-1);
    layer.details.places.forEach((place, at) => { layer.at[place] = at; });
  });
}

const edgeAt = (layer, output, input) => output * layer.inputs + input;

function inputName(layer, input) {
  const names = layer.number === 0 ? report.names.inputs : null;
  if (names) return names[input];
  if (!layer.image) return String(input);
  const [, height, width] = layer.image;
  const inside = input % (height * width);
  return `${input} (${Math.floor(inside / width)}, ${inside % width})`;
}

function outputName(layer, output) {
  const names = layer.number === report.layers.length - 1 ? report.names.outputs : null;
  return names ? names[output] : String(output);
}

const layerTitle = (layer) => `layer ${layer.number}`;

function share(layer, place) {
  return layer.largest > 0 ? layer.score[place] / layer.largest : 0;
}

// Numbers for people, with a true minus.
function shown(value, digits = 3) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  const text = value === 0 ? "0" : size < 1e-3 || size >= 1e5 ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return text.replace(/-/g, "−");
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const byId = (id) => document.getElementById(id);
