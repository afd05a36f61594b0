// The list of jobs: as long as it likes, but only the rows in sight exist. Events change rows in place.
import { at, badge, make, write } from "./dom.js";
import { STATES, age, isPlain, matches, placeOf, readSearch } from "./lib.js";
import { get } from "./link.js";

const PAGE = 200, MORE = 500, AROUND = 8, LOADED_MAX = 100000;
const COLUMNS = ["state", "name", "id", "queue", "user", "worker", "reason", "since"];

export class JobList {
  constructor(opened) {
    this.place = at("jobs"); this.canvas = at("jobs-canvas");
    this.opened = opened;
    this.jobs = new Map(); this.ids = []; this.rows = new Map();
    this.next = null; this.search = readSearch(""); this.states = [];
    this.current = null; this.chosen = null; this.round = 0; this.loading = false; this.frame = 0;
    this.place.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(this.place);
    this.place.addEventListener("keydown", (event) => this.key(event));
  }
  get height() { return matchMedia("(max-width: 720px)").matches ? 56 : 34; }

  clear() { this.round += 1; this.jobs.clear(); this.ids = []; this.next = null; this.current = this.chosen = null; this.render(); }

  query(limit, cursor) {
    const query = new URLSearchParams({ limit });
    if (cursor) query.set("cursor", cursor);
    const states = [...this.states];
    for (const [key, value] of this.search.terms) if (key === "state") states.push(value); else query.append(key, value);
    if (states.length) query.set("state", states.join(","));
    if (this.search.name) query.set("name", this.search.name.endsWith("*") ? this.search.name : `${this.search.name}*`);
    return `/v1/jobs?${query}`;
  }

  /** Read the newest page; what else was loaded is forgotten. */
  async load() {
    const round = ++this.round;
    const page = await get(this.query(PAGE));
    const items = page.items;
    const word = this.search.name;
    if (/^[0-9a-z]{6,}$/.test(word) && !this.search.terms.length) {
      const exact = await get(`/v1/jobs/${encodeURIComponent(word)}`).catch(() => null);
      if (exact && !items.some((job) => job.id === exact.id)) items.unshift(exact);
    }
    if (round !== this.round) return;
    this.jobs = new Map(items.map((job) => [job.id, slim(job)]));
    this.ids = items.map((job) => job.id).sort().reverse();
    this.next = page.next_cursor;
    this.place.scrollTop = 0;
    this.render();
  }

  async more() {
    if (this.loading || !this.next || this.ids.length >= LOADED_MAX) return;
    this.loading = true;
    const round = this.round;
    try {
      const page = await get(this.query(MORE, this.next));
      if (round !== this.round) return;
      for (const job of page.items) {
        if (!this.jobs.has(job.id)) this.ids.push(job.id);
        this.jobs.set(job.id, slim(job));
      }
      this.next = page.next_cursor;
      this.render();
    } finally { this.loading = false; }
  }

  /** Take changes as they come; returns false where only reading anew can tell what the list is now. */
  take(events) {
    if (!isPlain(this.search)) return false;
    let above = 0;
    const first = this.first();
    for (const event of events) {
      if (event.array_index !== null) continue; // members are shown with their array
      const job = { ...slim(event), id: event.job };
      const had = this.jobs.has(job.id);
      if (!matches(job, this.search, this.states)) {
        if (had) { const n = placeOf(this.ids, job.id); this.ids.splice(n, 1); this.jobs.delete(job.id); if (n < first) above -= 1; }
        continue;
      }
      if (!had) {
        if (this.next && this.ids.length && job.id < this.ids.at(-1)) continue; // further down than what is loaded
        const n = placeOf(this.ids, job.id);
        this.ids.splice(n, 0, job.id);
        if (n < first) above += 1;
      }
      this.jobs.set(job.id, had ? { ...this.jobs.get(job.id), ...job } : job);
    }
    if (above && this.place.scrollTop > this.height) this.place.scrollTop += above * this.height;
    this.soon();
    return true;
  }

  first() { return Math.floor(this.place.scrollTop / this.height); }
  soon() { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.render(); }); }

  render() {
    const high = this.height, total = this.ids.length;
    this.canvas.style.height = `${total * high}px`;
    const first = Math.max(0, this.first() - AROUND);
    const last = Math.min(total, Math.ceil((this.place.scrollTop + this.place.clientHeight) / high) + AROUND);
    const now = Date.now(), wanted = new Set(this.ids.slice(first, last));
    for (const [id, row] of this.rows) if (!wanted.has(id)) { if (row.contains(document.activeElement)) this.place.focus({ preventScroll: true }); row.remove(); this.rows.delete(id); }
    let below = null; // rows stand in the document in the order in which they are seen
    for (let n = last - 1; n >= first; n -= 1) {
      const id = this.ids[n];
      let row = this.rows.get(id);
      if (!row) { row = this.row(id); this.rows.set(id, row); this.canvas.insertBefore(row, below); }
      below = row;
      row.style.transform = `translateY(${n * high}px)`;
      row.setAttribute("aria-rowindex", n + 2);
      this.paint(row, this.jobs.get(id), now);
    }
    at("jobs-table").setAttribute("aria-rowcount", this.next ? -1 : total + 1);
    at("jobs-none").hidden = total > 0;
    write(at("jobs-count"), `${total.toLocaleString("en")}${this.next ? " loaded, more below" : total === 1 ? " job" : " jobs"}`);
    if (this.next && last + 3 * AROUND >= total) this.more().catch(() => {});
  }

  row(id) {
    const row = make("div", { role: "row", class: "job-row", "data-id": id });
    for (const name of COLUMNS) row.append(make("div", { role: "cell", class: `c-${name}` }));
    row.querySelector(".c-name").append(make("a", { href: `#/jobs/${id}` }));
    row.addEventListener("click", (event) => { if (!event.target.closest("a")) this.opened(id); });
    return row;
  }

  paint(row, job, now) {
    const [state, name, id, queue, user, worker, reason, since] = row.children;
    if (state.dataset.state !== job.state) { state.dataset.state = job.state; state.replaceChildren(badge(job.state, STATES[job.state])); }
    write(name.firstChild, job.name || job.id);
    write(id, job.id); write(queue, job.queue); write(user, job.user); write(worker, job.worker || "–");
    write(reason, ["Completed", "Evaluating"].includes(job.reason) ? "" : job.reason || "");
    write(since, age(job.since, now));
    if (since.title !== job.since) since.title = job.since;
    row.classList.toggle("chosen", job.id === this.chosen);
  }

  choose(id) { this.chosen = id; this.soon(); }

  /** Up, Down, Page Up, Page Down, Home and End move through rows that may not exist yet. */
  key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !this.ids.length) return;
    event.preventDefault();
    const here = document.activeElement.closest?.(".job-row")?.dataset.id ?? this.current;
    const from = here === null || !this.jobs.has(here) ? -1 : placeOf(this.ids, here);
    this.reach(Math.max(0, Math.min(this.ids.length - 1, from + steps[event.key])));
  }
  reach(n) {
    const high = this.height, top = n * high;
    this.current = this.ids[n];
    if (top < this.place.scrollTop) this.place.scrollTop = top;
    else if (top + high > this.place.scrollTop + this.place.clientHeight) this.place.scrollTop = top + high - this.place.clientHeight;
    this.render();
    this.rows.get(this.current)?.querySelector("a").focus({ preventScroll: true });
  }
}

/** Only what a row shows is kept of a job. */
function slim(job) {
  const kept = {};
  for (const name of COLUMNS) kept[name] = job[name];
  return kept;
}
