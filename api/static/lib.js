// What needs no page: reading streams, filters and words. Everything here is pure.

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

export const STATES = {
  held: "waiting", scheduled: "waiting", blocked: "waiting", queued: "waiting",
  starting: "active", running: "active", stopping: "active",
  succeeded: "good", failed: "bad", timed_out: "bad", cancelled: "over", expired: "over",
};
export const isFinal = (state) => ["good", "bad", "over"].includes(STATES[state]);
export const words = (text) => String(text ?? "").replaceAll("_", " ");

export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 1) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
  if (ms < 86400000) return `${Math.floor(ms / 3600000)} h ${Math.round((ms % 3600000) / 60000)} min`;
  return `${Math.floor(ms / 86400000)} d ${Math.round((ms % 86400000) / 3600000)} h`;
}

/** How long ago, in one short word. */
export function age(text, now) {
  const seconds = Math.max(0, (now - Date.parse(text)) / 1000);
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 2 ** 60) return "unlimited";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let step = 0;
  while (n >= 1024 && step < units.length - 1) { n /= 1024; step += 1; }
  return `${step && n < 100 ? n.toFixed(1).replace(/\.0$/, "") : Math.round(n)} ${units[step]}`;
}

export const number = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en"));

/** A moment in the reader's own zone, as 2026-11-26 00:04:59. */
export function moment(text) {
  const at = new Date(text ?? NaN);
  if (Number.isNaN(at.getTime())) return "–";
  const two = (n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The largest figure among the values of an object, or null. */
export function largest(figures) {
  const numbers = Object.values(figures ?? {}).filter(Number.isFinite);
  return numbers.length ? Math.max(...numbers) : null;
}

/** A round number at or above `top` that an axis can end with. */
export function ceiling(top) {
  if (!(top > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= top);
}

const KEYS = ["user", "queue", "worker", "label", "schedule", "since", "array", "state"];

/** Read what was typed into the search: `key:value` words, and the beginning of a name. */
export function readSearch(text) {
  const found = { name: "", terms: [] };
  const names = [];
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const [key, ...rest] = word.split(":");
    if (KEYS.includes(key) && rest.join(":")) found.terms.push([key, rest.join(":")]);
    else names.push(word);
  }
  found.name = names.join(" ");
  return found;
}

/** Whether an event can be judged by itself; lists with other filters are read anew. */
export const isPlain = (search) => search.terms.every(([key]) => ["user", "queue", "worker", "state"].includes(key));

export function matches(job, search, states) {
  if (states.length && !states.includes(job.state)) return false;
  const wanted = search.name;
  if (wanted && wanted !== job.id && !(job.name ?? "").startsWith(wanted.replace(/\*$/, ""))) return false;
  return search.terms.every(([key, value]) => String(job[key] ?? "") === value);
}

/** Where `id` stands, or would stand, in a list of ids with the newest first. */
export function placeOf(ids, id) {
  let low = 0, high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle] > id) low = middle + 1; else high = middle;
  }
  return low;
}

/** Text without the codes that move a terminal's cursor or change its colours. */
// eslint-disable-next-line no-control-regex
export const plainText = (text) => text.replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])/g, "");
