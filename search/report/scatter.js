// The scatter: a canvas for the thousands of faint points, an SVG above it for what matters.

const HEIGHT = 440;
const CROWDED = 40;
const MARGIN = { left: 58, right: 20, top: 26, bottom: 44 };

function scalePosition(scale, value) {
  if (scale.kind === "log") {
    return Math.log(value / scale.low) / Math.log(scale.high / scale.low);
  }
  return (value - scale.low) / (scale.high - scale.low);
}

/** Step of the colour ramp for an energy; -1 where it is unknown. */
function energyStep(energy, millijoules) {
  if (!known(millijoules)) return -1;
  if (energy.high <= energy.low) return 0;
  const share = (millijoules - energy.low) / (energy.high - energy.low);
  return Math.min(Math.max(Math.floor(share * energy.steps), 0), energy.steps - 1);
}

function stepColour(step) {
  return step < 0 ? "--muted" : `--e${step}`;
}

class Scatter {
  /** Draws into `host`; calls `onSelect(key)` when a marked point is clicked. */
  constructor(data, host, onSelect) {
    this.data = data;
    this.host = host;
    this.onSelect = onSelect;
    this.axes = { x: "log", y: "near" };
    this.selected = null;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.svg = shape("svg", { role: "img", "aria-label": this.label() });
    host.append(this.canvas, this.svg);
    new ResizeObserver(() => this.draw()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  label() {
    const what = this.data.feasible ? "members of the front" : "nearest misses";
    return `Scatter of size against accuracy. ${this.data.entries.length} ${what}; ` +
      "the table below holds the same values.";
  }

  setAxis(which, name) {
    this.axes[which] = name;
    this.draw();
  }

  select(key) {
    this.selected = key;
    this.draw();
  }

  x(bytes) {
    const width = this.width - MARGIN.left - MARGIN.right;
    return MARGIN.left + scalePosition(this.data.x[this.axes.x], bytes) * width;
  }

  y(accuracy) {
    const height = HEIGHT - MARGIN.top - MARGIN.bottom;
    return HEIGHT - MARGIN.bottom - scalePosition(this.data.y[this.axes.y], accuracy) * height;
  }

  inView(accuracy) {
    return known(accuracy) && accuracy >= this.data.y[this.axes.y].low;
  }

  draw() {
    this.width = this.host.clientWidth;
    if (this.width === 0) return;
    this.drawCanvas();
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(
      ...this.axisMarks(), ...this.limitMarks(), ...this.stairMarks(), ...this.entryMarks(),
      ...this.parentMarks(),
    );
    byId("hidden-below").textContent = this.belowText();
  }

  belowText() {
    let below = 0;
    for (const cloud of Object.values(this.data.clouds)) {
      below += cloud.accuracy.filter((accuracy) => !this.inView(accuracy)).length;
    }
    if (below === 0) return "";
    return `${below.toLocaleString("en-US")} of them lie below this view.`;
  }

  drawCanvas() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.strokeStyle = themed("--muted");
    pen.globalAlpha = 0.45;
    this.drawCloud(this.data.clouds.rejected, (x, y) => cross(pen, x, y));
    this.drawCloud(this.data.clouds.infeasible, (x, y) => triangle(pen, x, y));
    for (const bytes of this.data.rug.bytes) tick(pen, this.x(bytes), HEIGHT - MARGIN.bottom);
    this.drawDominated(pen);
  }

  drawCloud(cloud, stroke) {
    cloud.accuracy.forEach((accuracy, i) => {
      if (this.inView(accuracy)) stroke(this.x(cloud.bytes[i]), this.y(accuracy));
    });
  }

  drawDominated(pen) {
    const { dominated } = this.data.clouds;
    const colours = new Map();
    pen.globalAlpha = 0.38;
    dominated.accuracy.forEach((accuracy, i) => {
      if (!this.inView(accuracy)) return;
      const name = stepColour(energyStep(this.data.energy, dominated.energy[i]));
      if (!colours.has(name)) colours.set(name, themed(name));
      pen.fillStyle = colours.get(name);
      pen.beginPath();
      pen.arc(this.x(dominated.bytes[i]), this.y(accuracy), 3, 0, 2 * Math.PI);
      pen.fill();
    });
  }

  axisMarks() {
    const bottom = HEIGHT - MARGIN.bottom;
    const right = this.width - MARGIN.right;
    const marks = [];
    for (const [value, text] of this.data.y[this.axes.y].ticks) {
      const y = this.y(value);
      marks.push(shape("path", { class: "grid", d: `M${MARGIN.left} ${y}H${right}` }));
      marks.push(shape("text", { x: MARGIN.left - 9, y: y + 4, "text-anchor": "end" }, text));
    }
    marks.push(shape("path", { class: "axis", d: `M${MARGIN.left} ${bottom}H${right}` }));
    for (const [value, text] of this.data.x[this.axes.x].ticks) {
      const x = this.x(value);
      marks.push(shape("path", { class: "axis", d: `M${x} ${bottom}v5` }));
      marks.push(shape("text", { x, y: bottom + 19, "text-anchor": "middle" }, text));
    }
    marks.push(shape("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" },
      "packed size"));
    marks.push(shape("text", { x: 0, y: 12 },
      "accuracy on the search split"));
    return marks;
  }

  limitMarks() {
    const { accuracy, bytes } = this.data.limit;
    const right = this.width - MARGIN.right;
    const marks = [];
    if (this.inView(accuracy)) {
      const y = this.y(accuracy);
      marks.push(
        shape("path", { class: "limit", d: `M${MARGIN.left} ${y}H${right}` }),
        shape("text", { class: "haloed", x: right, y: y + 16, "text-anchor": "end" },
          `accuracy limit ${formatPercent(accuracy)}`));
    }
    if (known(bytes)) {
      const x = this.x(bytes);
      marks.push(
        shape("path", { class: "limit", d: `M${x} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}` }),
        shape("text", { class: "haloed", x: x - 7, y: MARGIN.top + 6, "text-anchor": "end" },
          `size limit ${formatBytes(bytes)}`));
    }
    return marks;
  }

  stairMarks() {
    if (this.data.stairs.length === 0) return [];
    const [[bytes, accuracy], ...rest] = this.data.stairs;
    const steps = rest.map(([b, a]) => `H${this.x(b)}V${this.y(a)}`).join("");
    return [shape("path", { class: "stairs", d: `M${this.x(bytes)} ${this.y(accuracy)}${steps}` })];
  }

  entryMarks() {
    const visible = this.data.entries.filter((entry) => this.inView(entry.accuracy));
    // The selected one comes last: nothing may cover it.
    visible.sort((a, b) => (a.key === this.selected) - (b.key === this.selected));
    return visible.map((entry) => this.entryMark(entry));
  }

  entryMark(entry) {
    const chosen = entry.key === this.selected;
    const colour = stepColour(energyStep(this.data.energy, entry.energy));
    const mark = shape("circle", {
      class: (this.data.feasible ? "member" : "miss") + (chosen ? " chosen" : ""),
      cx: this.x(entry.bytes),
      cy: this.y(entry.accuracy),
      r: (this.data.entries.length > CROWDED ? 4.5 : 6) + (chosen ? 2 : 0),
      "data-key": entry.key,
    });
    if (this.data.feasible) mark.style.fill = `var(${colour})`;
    mark.addEventListener("click", () => this.onSelect(entry.key));
    return mark;
  }

  parentMarks() {
    const { parent } = this.data;
    if (!this.inView(parent.accuracy_search)) return [];
    const x = this.x(parent.bytes);
    const y = this.y(parent.accuracy_search);
    return [
      shape("polygon", { class: "parent-mark", points: starPoints(x, y, 10) }),
      shape("text", { class: "strong haloed", x, y: y - 15, "text-anchor": "middle" }, "parent"),
    ];
  }
}

function starPoints(x, y, radius) {
  return Array.from({ length: 10 }, (_, corner) => {
    const reach = corner % 2 === 0 ? radius : radius * 0.42;
    const angle = Math.PI * (corner / 5 - 0.5);
    const place = [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
    return place.map((value) => value.toFixed(1)).join(",");
  }).join(" ");
}

function cross(pen, x, y) {
  pen.beginPath();
  pen.moveTo(x - 2.5, y - 2.5);
  pen.lineTo(x + 2.5, y + 2.5);
  pen.moveTo(x - 2.5, y + 2.5);
  pen.lineTo(x + 2.5, y - 2.5);
  pen.stroke();
}

function triangle(pen, x, y) {
  pen.beginPath();
  pen.moveTo(x - 3, y - 2);
  pen.lineTo(x + 3, y - 2);
  pen.lineTo(x, y + 3);
  pen.closePath();
  pen.stroke();
}

function tick(pen, x, bottom) {
  pen.beginPath();
  pen.moveTo(x, bottom);
  pen.lineTo(x, bottom - 7);
  pen.stroke();
}
