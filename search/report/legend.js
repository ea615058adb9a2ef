// Key to the scatter, and the switches of its axes.

function drawLegend(data, host) {
  const { totals } = data;
  const front = data.feasible
    ? [shape("circle", { class: "key-front", cx: 8, cy: 8, r: 5.5 }), "front"]
    : [shape("circle", { class: "miss", cx: 8, cy: 8, r: 5 }), "nearest misses"];
  const star = shape("polygon", { class: "parent-mark", points: starPoints(8, 8, 7.5) });
  const dot = shape("circle", { class: "key-dominated", cx: 8, cy: 8, r: 3.5 });
  const line = (d) => shape("path", { class: "key-line", d });
  const items = [
    legendItem(...front, data.entries.length),
    legendItem(star, "parent", null),
    legendItem(dot, "dominated", totals.dominated),
    legendItem(line("M4.5 5.5h7l-3.5 6z"), "infeasible", totals.infeasible),
    legendItem(line("M5 5l6 6m-6 0l6-6"), "rejected", totals.rejected),
    legendItem(line("M4 12v-8m4 8v-8m4 8v-8"), "no accuracy", totals.rug),
  ];
  host.append(...items.filter((item) => item !== null), ...energyKey(data.energy));
}

/** One entry of the key; none for a class without points. */
function legendItem(mark, text, count) {
  if (count === 0) return null;
  const number = count === null ? "" : ` ${count.toLocaleString("en-US")}`;
  return element("span", { class: "key" },
    shape("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, mark),
    text, element("b", {}, number));
}

function energyKey(energy) {
  if (energy.high <= 0) return [];
  const ramp = element("i", { class: "ramp" });
  for (let step = 0; step < energy.steps; step += 1) {
    const cell = element("i");
    cell.style.background = `var(--e${step})`;
    ramp.append(cell);
  }
  return [element("span", { class: "key energy" }, "energy per image",
    element("b", {}, formatEnergy(energy.low, energy)), ramp,
    element("b", {}, formatEnergy(energy.high, energy)))];
}

/** A group of buttons of which one is pressed. */
function drawSwitch(host, title, choices, onChoose) {
  const group = element("div", { class: "switch", role: "group", "aria-label": title },
    element("span", {}, title));
  const buttons = choices.map(([name, text], index) => {
    const button = element("button", { type: "button", "aria-pressed": index === 0 }, text);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
      onChoose(name);
    });
    return button;
  });
  group.append(...buttons);
  host.append(group);
}
