// Numbers as a reader wants them; formats.py does the same for the text of the page.

const THIN = "\u202f";
const UNKNOWN = "–";

function known(value) {
  return value !== null && value !== undefined;
}

function withMinus(text) {
  return text.replace("-", "−");
}

function significant(value, digits = 3) {
  return withMinus(Number(value.toPrecision(digits)).toString());
}

function formatBytes(value) {
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (value >= size * 0.9995) return significant(value / size) + THIN + unit;
  }
  return value.toFixed(0) + THIN + "B";
}

function formatPercent(fraction, digits = 1) {
  return known(fraction) ? withMinus((fraction * 100).toFixed(digits)) + THIN + "%" : UNKNOWN;
}

function formatPoints(difference) {
  if (!known(difference)) return UNKNOWN;
  const text = (difference * 100).toFixed(2);
  if (Number(text) === 0) return "0.00";
  return withMinus(difference > 0 ? "+" + text : text);
}

function formatCount(value) {
  if (!known(value)) return UNKNOWN;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"]]) {
    if (value >= size * 0.9995) return significant(value / size) + THIN + unit;
  }
  return Math.round(value).toLocaleString("en-US");
}

function formatEnergy(millijoules, energy) {
  if (!known(millijoules)) return UNKNOWN;
  return significant(millijoules * energy.perMj) + THIN + energy.unit;
}
