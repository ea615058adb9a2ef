// The layers of one candidate: what is kept of each block, in the order of the network.

const [KIND, NAME, SIZE, BLOCK, STAGE] = [0, 1, 2, 3, 4];
const UNTOUCHED_BITS = 32;
const TITLES = ["Block", "Channels kept", "Bits per weight", "Tokens kept"];
const MEMBRANES = "Bits per membrane";
const DRAWN = ["channel", "residual", "weight", "token", "state"];

function drawLayers(data, entry, host) {
  const parts = [layersHead(data, entry)];
  const blocks = blocksOf(data.sites);
  if (blocks.size > 0) {
    const rows = [...blocks].map(([name, sites]) => blockRow(name, sites, entry.candidate));
    // Membranes are searched only when asked for: a column that says nothing is left out.
    const titles = entry.candidate.state ? [...TITLES, MEMBRANES] : TITLES;
    const heads = titles.map((title) => element("th", { scope: "col" }, title));
    parts.push(element("table", { class: "layers" },
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
  }
  host.replaceChildren(...parts);
}

function layersHead(data, entry) {
  const steps = element("span", { class: "steps" });
  for (let step = 0; step < data.parent.time_steps; step += 1) {
    steps.append(element("i", { class: step < entry.steps ? "on" : "off" }));
  }
  const packed = entry.packed ? `packed in ${entry.path || "the run’s folder"}` : "not packed";
  return element("p", { class: "layers-head" },
    element("b", { class: "mono" }, entry.key),
    element("span", {}, `${formatBytes(entry.bytes)}, ${formatPercent(entry.ratio)} of parent`),
    element("span", {}, steps, `${entry.steps} of ${data.parent.time_steps} time steps`),
    entry.candidate.recovery ? element("span", {}, "not recovered") : null,
    data.feasible ? element("span", {}, packed) : null);
}

/** Sites by block, in the order in which blocks first appear; time is no layer. */
function blocksOf(sites) {
  const blocks = new Map();
  for (const site of sites) {
    if (!DRAWN.includes(site[KIND])) continue;
    if (!blocks.has(site[BLOCK])) blocks.set(site[BLOCK], []);
    blocks.get(site[BLOCK]).push(site);
  }
  return blocks;
}

function blockRow(name, sites, candidate) {
  const of = (kind) => sites.filter((site) => site[KIND] === kind);
  const cut = (kind) => of(kind).filter((site) => chosen(site, candidate) < site[SIZE]);
  const bars = (found) => found.map((site) => keptBar(site, candidate));
  const cells = (found) => found.map((site) => bitCell(site, candidate));
  const stage = sites[0][STAGE];
  return element("tr", { "data-block": name },
    element("th", { scope: "row" }, name, stage === name ? null : element("small", {}, stage)),
    element("td", {}, ...bars(of("channel")), ...bars(cut("residual"))),
    element("td", {}, element("div", { class: "cells" }, ...cells(of("weight")))),
    element("td", {}, ...bars(of("token"))),
    candidate.state
      ? element("td", {}, element("div", { class: "cells" }, ...cells(cut("state"))))
      : null);
}

function chosen(site, candidate) {
  const named = candidate[site[KIND]];
  return named && Object.hasOwn(named, site[NAME]) ? named[site[NAME]] : site[SIZE];
}

/** Site name without what the block's name says already. */
function shortName(site) {
  const prefix = `${site[BLOCK]}.`;
  return site[NAME].startsWith(prefix) ? site[NAME].slice(prefix.length) : site[NAME];
}

function keptBar(site, candidate) {
  const value = chosen(site, candidate);
  const bar = element("i", { class: value < site[SIZE] ? "cut" : "" });
  bar.style.width = `${(100 * value) / site[SIZE]}%`;
  const label = site[NAME] === site[BLOCK] ? "" : shortName(site);
  return element("div", { class: label ? "bar" : "bar bare", title: site[NAME] },
    label ? element("span", { class: "label" }, label) : null,
    element("span", { class: "track" }, bar),
    element("span", { class: "number" }, element("b", {}, String(value)), ` / ${site[SIZE]}`));
}

function bitCell(site, candidate) {
  const bits = chosen(site, candidate);
  const cell = element("b", { class: bits >= UNTOUCHED_BITS ? "bits full" : "bits" }, String(bits));
  if (bits < UNTOUCHED_BITS) {
    const depth = Math.min(bits, 8) / 8;
    cell.style.setProperty("--depth", `${Math.round(14 + 76 * depth)}%`);
    cell.classList.toggle("deep", depth > 0.55);
  }
  const percent = site[KIND] === "weight" ? candidate.density?.[site[NAME]] : undefined;
  const kept = percent === undefined ? "" : `${percent} % of `;
  return element("span", { class: "cell", title: `${site[NAME]}: ${bits} bits` },
    cell, element("span", { class: "label" }, `${kept}${shortName(site)}`));
}
