// What needs no page: reading streams, curves and words. Everything here is pure, or gets what it touches.

/** Cut text that comes in pieces at a separator; the rest waits for more. */
export class Cutter {
  constructor(separator) { this.separator = separator; this.rest = ""; }
  take(text) {
    const parts = (this.rest + text).split(this.separator);
    this.rest = parts.pop();
    return parts;
  }
}

/** Read one server-sent event; null for a comment. */
export function readEvent(block) {
  const found = { id: "", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) found.id = line.slice(4);
    if (line.startsWith("data: ")) found.data += line.slice(6);
  }
  return found.data ? found : null;
}

/** The points of a polyline in 300 x 60; gaps are left out, the newest value is on the right. */
export function points(values, most = 150) {
  const shown = values.slice(-most);
  const top = Math.max(1, ...shown.filter((value) => value !== null));
  return shown
    .map((value, n) => (value === null ? "" : `${(300 - (shown.length - 1 - n) * (300 / (most - 1))).toFixed(1)},${(57 - (54 * value) / top).toFixed(1)}`))
    .filter(Boolean).join(" ");
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (n >= 1024 && step < units.length - 1) { n /= 1024; step += 1; }
  return `${step ? n.toFixed(1) : n} ${units[step]}`;
}

export function clock(text) { return text ? text.slice(0, 19).replace("T", " ") : "–"; }

/** The largest figure among the values of an object, or null. */
export function largest(figures) {
  const numbers = Object.values(figures ?? {}).filter(Number.isFinite);
  return numbers.length ? Math.max(...numbers) : null;
}

/** Keep at most `most` characters of the end. */
export function tail(text, most) { return text.length > most ? text.slice(-most) : text; }

