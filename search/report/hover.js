// What lies under the pointer: marked points before faint ones.

const REACH_MARK = 14;
const REACH_FAINT = 8;

const CLOUD_TITLES = {
  dominated: "Dominated",
  infeasible: "Infeasible",
  rejected: "Rejected early",
};

class Hover {
  constructor(scatter) {
    this.scatter = scatter;
    this.data = scatter.data;
    this.tip = element("div", { class: "tip", hidden: "" });
    scatter.host.append(this.tip);
    scatter.svg.addEventListener("pointermove", (event) => this.move(event));
    scatter.svg.addEventListener("pointerleave", () => this.hide());
  }

  move(event) {
    const box = this.scatter.svg.getBoundingClientRect();
    const at = { x: event.clientX - box.left, y: event.clientY - box.top };
    const found = this.nearestMark(at) || this.nearestFaint(at) || this.nearestTick(at);
    if (!found) {
      this.hide();
      return;
    }
    const [title, ...lines] = found.lines;
    this.tip.replaceChildren(
      element("strong", {}, title), ...lines.map((line) => element("span", {}, line)));
    this.tip.hidden = false;
    this.place(found);
  }

  hide() {
    this.tip.hidden = true;
  }

  place(found) {
    const space = this.scatter.width - found.x;
    const width = this.tip.offsetWidth;
    this.tip.style.left = `${space < width + 24 ? found.x - width - 14 : found.x + 14}px`;
    const above = found.y - this.tip.offsetHeight - 8;
    this.tip.style.top = `${above < 0 ? found.y + 14 : above}px`;
  }

  nearestMark(at) {
    const { parent, entries } = this.data;
    const marks = entries.map(
      (entry) => [entry.bytes, entry.accuracy, () => this.entryLines(entry)]);
    marks.push([parent.bytes, parent.accuracy_search, () => this.parentLines()]);
    return this.nearest(at, marks, REACH_MARK);
  }

  nearestFaint(at) {
    const marks = [];
    for (const [name, cloud] of Object.entries(this.data.clouds)) {
      cloud.accuracy.forEach((accuracy, i) => {
        marks.push([cloud.bytes[i], accuracy, () => this.faintLines(name, cloud, i)]);
      });
    }
    return this.nearest(at, marks, REACH_FAINT);
  }

  nearest(at, marks, reach) {
    let best = null;
    let bestDistance = reach;
    for (const [bytes, accuracy, lines] of marks) {
      if (!this.scatter.inView(accuracy)) continue;
      const x = this.scatter.x(bytes);
      const y = this.scatter.y(accuracy);
      const distance = Math.hypot(x - at.x, y - at.y);
      if (distance <= bestDistance) {
        bestDistance = distance;
        best = { x, y, lines };
      }
    }
    return best && { x: best.x, y: best.y, lines: best.lines() };
  }

  nearestTick(at) {
    const bottom = HEIGHT - MARGIN.bottom;
    if (at.y < bottom - REACH_FAINT || at.y > bottom) return null;
    const { rug } = this.data;
    const gaps = rug.bytes.map((bytes) => Math.abs(this.scatter.x(bytes) - at.x));
    const i = gaps.indexOf(Math.min(...gaps));
    if (i < 0 || gaps[i] > 4) return null;
    const size = formatBytes(rug.bytes[i]);
    const lines = ["Ended before any accuracy", size, ...this.ending(rug, i)];
    return { x: this.scatter.x(rug.bytes[i]), y: bottom, lines };
  }

  entryLines(entry) {
    return [
      entry.key,
      `${formatBytes(entry.bytes)}, ${formatPercent(entry.ratio)} of parent`,
      `${formatPercent(entry.accuracy, 2)} on the search split`,
      `${formatEnergy(entry.energy, this.data.energy)} per image`,
    ];
  }

  parentLines() {
    const { parent } = this.data;
    return [
      `Parent: ${parent.name}`,
      formatBytes(parent.bytes),
      `${formatPercent(parent.accuracy_search, 2)} on the search split`,
      `${formatEnergy(parent.energy_mj, this.data.energy)} per image`,
    ];
  }

  faintLines(name, cloud, i) {
    const estimate = name === "rejected" ? "last estimate" : "on the search split";
    const lines = [
      CLOUD_TITLES[name],
      formatBytes(cloud.bytes[i]),
      `${formatPercent(cloud.accuracy[i], 2)} ${estimate}`,
    ];
    if (known(cloud.energy[i])) {
      lines.push(`${formatEnergy(cloud.energy[i], this.data.energy)} per image`);
    }
    return [...lines, ...this.ending(cloud, i)];
  }

  ending(cloud, i) {
    const by = cloud.ended[i] ? [`ended by the ${cloud.ended[i]} stage`] : [];
    return [...by, `candidate ${cloud.number[i].toLocaleString("en-US")}`];
  }
}
