// Puts the page together.

function recordError(message) {
  document.documentElement.dataset.error = message;
}
window.addEventListener("error", (event) => recordError(event.message));
document.addEventListener("securitypolicyviolation",
  (event) => recordError(`policy: ${event.violatedDirective}`));

const data = JSON.parse(byId("data").textContent);

function select(key) {
  const entry = data.entries.find((candidate) => candidate.key === key);
  scatter.select(key);
  table.select(key);
  drawLayers(data, entry, byId("layers"));
}

const scatter = new Scatter(data, byId("scatter"), select);
const table = new EntryTable(data, byId("members"), select);
new Hover(scatter);
drawLegend(data, byId("legend"));
drawSwitch(byId("controls"), "Size", [["log", "log"], ["linear", "linear"]],
  (name) => scatter.setAxis("x", name));
const near = data.feasible ? "near the front" : "near the best";
drawSwitch(byId("controls"), "Accuracy", [["near", near], ["all", "all"]],
  (name) => scatter.setAxis("y", name));

if (data.entries.length > 0) {
  select(data.first || data.entries[0].key);
  byId("members-note").textContent =
    "A click on a header sorts, a click on a row (or the arrow keys) selects. " +
    "Mean bits: over the weight tensors, each counted once.";
} else {
  scatter.draw();
  byId("layers").textContent = "Nothing to show: no candidate was measured.";
}
