// Curves over time: an SVG with an axis, made of what /v1/stats/history tells.
import { draw } from "./dom.js";
import { ceiling, moment } from "./lib.js";

const HIGH = 120, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20;

/** Draw `series`: [{ name, tone, values }] over `times`; `unit` writes a figure. Returns nothing; reads out a summary. */
export function curve(svg, times, series, unit) {
  const wide = Math.max(240, svg.clientWidth || 600);
  const high = svg.clientHeight || HIGH;
  const top = ceiling(Math.max(0, ...series.flatMap((line) => line.values.filter((value) => value !== null))));
  const x = (n) => LEFT + (n * (wide - LEFT - RIGHT)) / Math.max(1, times.length - 1);
  const y = (value) => TOP + (1 - value / top) * (high - TOP - BOTTOM);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const line = y(top * share);
    parts.push(draw("line", { x1: LEFT, x2: wide - RIGHT, y1: line, y2: line, class: "grid" }));
    parts.push(text(LEFT - 6, line + 3.5, "end", unit(top * share)));
  }
  const ticks = wide < 420 ? 3 : 5;
  for (let n = 0; n < ticks; n += 1) {
    const which = Math.round((n * (times.length - 1)) / (ticks - 1));
    const anchor = n === 0 ? "start" : n === ticks - 1 ? "end" : "middle";
    parts.push(text(x(which), high - 5, anchor, moment(times[which]).slice(11, 16)));
  }
  for (const line of series) {
    for (const run of runs(line.values)) {
      const dots = run.map((n) => `${x(n).toFixed(1)},${y(line.values[n]).toFixed(1)}`);
      if (line.area) parts.push(draw("path", { class: `area ${line.tone}`, d: `M${x(run[0]).toFixed(1)},${y(0)}L${dots.join("L")}L${x(run.at(-1)).toFixed(1)},${y(0)}Z` }));
      if (run.length === 1) parts.push(draw("circle", { class: `dot ${line.tone}`, cx: x(run[0]), cy: y(line.values[run[0]]), r: 2 }));
      else parts.push(draw("polyline", { class: `line ${line.tone}`, points: dots.join(" ") }));
    }
  }
  svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  svg.replaceChildren(...parts, draw("line", { class: "cursor", y1: TOP, y2: high - BOTTOM, x1: -9, x2: -9 }));
  svg.shown = { times, series, unit, x, wide };
  svg.setAttribute("aria-label", `${svg.dataset.title}: ${series.map((line) => `${line.name} ${summary(line.values, unit)}`).join("; ")}`);
}

/** Values without gaps, as lists of their places; a curve is broken where nothing was measured. */
function runs(values) {
  const found = [];
  let last = -2;
  values.forEach((value, n) => {
    if (value === null) return;
    if (n === last + 1) found.at(-1).push(n); else found.push([n]);
    last = n;
  });
  return found;
}
function summary(values, unit) {
  const known = values.filter((value) => value !== null);
  return known.length ? `now ${unit(known.at(-1))}, highest ${unit(Math.max(...known))}` : "nothing yet";
}
function text(x, y, anchor, words) {
  const made = draw("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}

/** Tell what is under the pointer in `place`. */
export function readOut(svg, place, rest) {
  svg.addEventListener("pointermove", (event) => {
    if (!svg.shown) return;
    const { times, series, unit, x, wide } = svg.shown;
    const box = svg.getBoundingClientRect();
    const n = Math.round((((event.clientX - box.left) * wide) / box.width - LEFT) / (x(1) - x(0)));
    if (n < 0 || n >= times.length) return;
    const line = svg.querySelector(".cursor");
    line.setAttribute("x1", x(n)); line.setAttribute("x2", x(n));
    place.textContent = `${moment(times[n]).slice(11)}  ${series.map((one) => `${one.name} ${one.values[n] === null ? "–" : unit(one.values[n])}`).join("  ")}`;
  });
  svg.addEventListener("pointerleave", () => { place.textContent = rest(); });
}
