// The table of members (or nearest misses): sorts by its header, selects by row.

function frontColumns(data) {
  return [
    column("Member", (e) => e.key),
    column("Search", (e) => e.accuracy, (e) => formatPercent(e.accuracy, 2),
      "accuracy on the search split"),
    column("Corrected", (e) => e.corrected, (e) => formatPercent(e.corrected, 2),
      "search accuracy without what choosing by it has added (bootstrap over images)"),
    column("Test", (e) => e.accuracyTest, (e) => formatPercent(e.accuracyTest, 2),
      "accuracy on the test split"),
    column("Test − parent, points", (e) => e.difference, differenceText,
      "paired difference of accuracy on the test split with its 95 % interval"),
    column("Size", (e) => e.bytes, (e) => formatBytes(e.bytes), "packed bytes"),
    column("Of parent", (e) => e.ratio, (e) => formatPercent(e.ratio)),
    column("Energy", (e) => e.energy, (e) => formatEnergy(e.energy, data.energy), "per image"),
    column("SynOps", (e) => e.synops, (e) => formatCount(e.synops),
      "synaptic operations per image"),
    column("T", (e) => e.steps, (e) => String(e.steps), "time steps"),
    column("Mean bits", (e) => e.bits, bitsText, "over the weight tensors, each counted once"),
    column("Path", (e) => e.path || UNKNOWN),
  ];
}

function missColumns(data) {
  return [
    column("Candidate", (e) => e.key),
    column("Ended", (e) => `${e.state}, ${e.stage}`),
    column("Value / limit", (e) => e.value, valueText,
      "what the stage measured, and what it allows"),
    column("Accuracy", (e) => e.accuracy, (e) => formatPercent(e.accuracy, 2),
      "last estimate on the search split"),
    column("Drop, points", (e) => e.drop, (e) => formatPoints(e.drop),
      "parent minus candidate, same images"),
    column("Violation", (e) => e.violation, violationText),
    column("Size", (e) => e.bytes, (e) => formatBytes(e.bytes), "packed bytes"),
    column("Of parent", (e) => e.ratio, (e) => formatPercent(e.ratio)),
    column("T", (e) => e.steps, (e) => String(e.steps), "time steps"),
    column("Mean bits", (e) => e.bits, bitsText, "over the weight tensors, each counted once"),
  ];
}

function column(title, value, text = value, hint = null) {
  return { title, value, text, hint, align: text === value ? "left" : null };
}

function differenceText(entry) {
  if (!known(entry.difference)) return UNKNOWN;
  const interval = known(entry.interval)
    ? ` [${entry.interval.map(formatPoints).join(", ")}]` : "";
  return formatPoints(entry.difference) + interval;
}

function bitsText(entry) {
  return known(entry.bits) ? entry.bits.toFixed(1) : UNKNOWN;
}

function violationText(entry) {
  return known(entry.violation) ? significant(entry.violation) : UNKNOWN;
}

function valueText(entry) {
  if (!known(entry.value)) return UNKNOWN;
  const threshold = known(entry.threshold) ? significant(entry.threshold) : UNKNOWN;
  return `${significant(entry.value)} / ${threshold}`;
}

class EntryTable {
  constructor(data, host, onSelect) {
    this.data = data;
    this.onSelect = onSelect;
    this.columns = data.feasible ? frontColumns(data) : missColumns(data);
    this.order = { index: -1, ascending: true };
    this.rows = new Map(data.entries.map((entry) => [entry.key, this.row(entry)]));
    this.heads = this.columns.map((spec, index) => this.head(spec, index));
    this.body = element("tbody", { id: "entry-rows" }, ...this.rows.values());
    const parts = [element("thead", {}, element("tr", {}, ...this.heads)), this.body];
    if (data.feasible) parts.push(element("tfoot", {}, this.parentRow()));
    host.append(element("table", { class: "entries" }, ...parts));
    this.body.addEventListener("keydown", (event) => this.walk(event));
  }

  head(spec, index) {
    const button = element("button", { type: "button", title: spec.hint }, spec.title);
    button.addEventListener("click", () => this.sort(index));
    return element("th", { scope: "col", class: spec.align, "aria-sort": "none" }, button);
  }

  row(entry) {
    const [first, ...rest] = this.columns;
    const button = element("button", { type: "button" }, first.text(entry));
    const cells = rest.map((spec) => element("td", { class: spec.align }, spec.text(entry)));
    const row = element("tr", { "data-key": entry.key },
      element("th", { scope: "row" }, button), ...cells);
    row.addEventListener("click", () => this.onSelect(entry.key));
    return row;
  }

  parentRow() {
    const { parent, energy } = this.data;
    const cells = [
      formatPercent(parent.accuracy_search, 2), "", formatPercent(parent.accuracy_test, 2), "",
      formatBytes(parent.bytes), formatPercent(1), formatEnergy(parent.energy_mj, energy),
      formatCount(parent.synops), String(parent.time_steps), "", "",
    ];
    return element("tr", {}, element("th", { scope: "row" }, "parent"),
      ...cells.map((text) => element("td", {}, text)));
  }

  sort(index) {
    const again = this.order.index === index;
    this.order = { index, ascending: again ? !this.order.ascending : true };
    const { value } = this.columns[index];
    const sign = this.order.ascending ? 1 : -1;
    const sorted = [...this.data.entries].sort((a, b) => compare(value(a), value(b), sign));
    this.body.replaceChildren(...sorted.map((entry) => this.rows.get(entry.key)));
    this.heads.forEach((head, i) => head.setAttribute("aria-sort",
      i !== index ? "none" : this.order.ascending ? "ascending" : "descending"));
  }

  select(key) {
    for (const [name, row] of this.rows) {
      row.classList.toggle("chosen", name === key);
      row.querySelector("button").setAttribute("aria-pressed", name === key);
    }
  }

  /** Arrow keys go from row to row. */
  walk(event) {
    const row = event.target.closest("tr");
    const steps = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling };
    const next = steps[event.key];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
    this.onSelect(next.dataset.key);
  }
}

/** Unknown values come last either way. */
function compare(a, b, sign) {
  if (!known(a) || !known(b)) return known(a) ? -1 : known(b) ? 1 : 0;
  if (a === b) return 0;
  return a < b ? -sign : sign;
}
