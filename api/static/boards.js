// What stands beside the jobs: counts and curves, workers, schedules with their ledger, the engine.
import { at, badge, bar, fill, make, write } from "./dom.js";
import { STATES, age, bytes, duration, largest, moment, number, words } from "./lib.js";
import { curve, readOut } from "./curves.js";
import { get, post } from "./link.js";

const TONES = { ready: "good", joining: "active", suspect: "bad", lost: "bad", offline: "over", running: "good", fired: "good", late: "active", triggered: "good", skipped: "over", missed: "bad" };
const cell = (text, kind) => make("td", kind ? { class: kind } : {}, text ?? "–");
const none = (columns, text) => make("tr", {}, make("td", { colspan: columns, class: "none" }, text));

export function setUpCurves() {
  const rest = { rate: () => "", latency: () => "" };
  readOut(at("curve-rate"), at("rate-at"), rest.rate);
  readOut(at("curve-latency"), at("latency-at"), rest.latency);
}

export async function drawOverview(counted) {
  const [stats, history] = await Promise.all([get("/v1/stats"), get(`/v1/stats/history?minutes=${at("minutes").value}`)]);
  counted(stats);
  const sum = (tone) => Object.entries(stats.jobs).reduce((total, [state, count]) => total + (STATES[state] === tone ? count : 0), 0);
  write(at("n-active"), number(sum("active"))); write(at("n-waiting"), number(sum("waiting"))); write(at("n-good"), number(sum("good"))); write(at("n-bad"), number(sum("bad")));
  write(at("n-rate"), number(stats.finished_last_minute));
  write(at("n-p50"), duration(stats.submit_to_start_ms.p50)); write(at("n-p99"), `p99 ${duration(stats.submit_to_start_ms.p99)}`);
  const ready = stats.workers.ready ?? 0, workers = Object.values(stats.workers).reduce((a, b) => a + b, 0);
  write(at("n-workers"), `${ready}`); write(at("n-workers-all"), workers === ready ? "all ready" : `of ${workers}; ${workers - ready} not ready`);
  const times = history.items.map((one) => one.at), perMinute = 60 / history.step_s;
  const rate = (n) => (n >= 10 || Number.isInteger(n) ? number(Math.round(n)) : n.toFixed(1));
  curve(at("curve-rate"), times, [
    { name: "ended", tone: "blue", area: true, values: history.items.map((one) => one.ended * perMinute) },
    { name: "failed", tone: "red", values: history.items.map((one) => (one.failed ? one.failed * perMinute : null)) }], rate);
  curve(at("curve-latency"), times, [
    { name: "p50", tone: "blue", values: history.items.map((one) => one.submit_to_start_ms.p50) },
    { name: "p99", tone: "amber", values: history.items.map((one) => one.submit_to_start_ms.p99) }], duration);
  const waiting = Object.entries(stats.waiting).sort((a, b) => b[1] - a[1]), most = waiting[0]?.[1] ?? 1;
  fill(at("waiting"), waiting.length ? waiting.map(([reason, count]) => make("tr", {}, cell(reason), make("td", {}, bar(count / most * 0.9, `${count} jobs`)), cell(number(count), "num")))
    : [none(3, "No job waits.")]);
}

export async function drawLatest() {
  const page = await get("/v1/jobs?limit=8");
  const now = Date.now();
  fill(at("latest"), page.items.length ? page.items.map((job) => make("tr", { "data-key": job.id }, make("td", {}, badge(job.state, STATES[job.state])),
    make("td", { class: "grow" }, make("a", { href: `#/jobs/${job.id}` }, job.name || job.id)), cell(job.worker), cell(age(job.since, now), "num")))
    : [none(4, "No job yet. Submit one: consumer run IMAGE COMMAND")]);
}

export async function drawBusiest() {
  const page = await get("/v1/workers?limit=1000");
  const busy = page.items.map((w) => ({ w, share: w.used ? Math.max(w.used.cpus / w.capacity.cpus || 0, w.used.memory / w.capacity.memory || 0) : 0 })).sort((a, b) => b.share - a.share).slice(0, 5);
  fill(at("busiest"), busy.length ? busy.map(({ w, share }) => make("tr", { "data-key": w.id }, cell(w.name), make("td", {}, bar(share, `${Math.round(share * 100)} % in use`)), cell(w.jobs === null ? "–" : `${number(w.jobs)} job${w.jobs === 1 ? "" : "s"}`, "num")))
    : [none(3, "No worker has joined.")]);
}

export async function drawWorkers(operator) {
  const page = await get("/v1/workers?limit=1000");
  const share = (used, all) => (used === undefined || !all ? 0 : used / all);
  write(at("workers-count"), `${page.items.length} worker${page.items.length === 1 ? "" : "s"}`);
  fill(at("workers"), page.items.length ? page.items.map((w) => {
    const open = w.eligibility === "open";
    const load = (kind, name, show) => make("td", {}, w.used ? bar(share(w.used[kind], w.capacity[kind]), `${name} ${Math.round(100 * share(w.used[kind], w.capacity[kind]))} % in use`) : "", make("span", { class: "soft num" }, `${w.used ? `${show(w.used[kind])} / ` : ""}${show(w.capacity[kind])}`));
    const verb = open ? "cordon" : "uncordon";
    return make("tr", { "data-key": w.id }, make("td", { class: "grow" }, make("strong", {}, w.name)), make("td", {}, badge(w.liveness, TONES[w.liveness] ?? "over"), open ? null : make("span", { class: "badge bad", title: w.note }, w.eligibility)),
      cell(w.jobs, "num"), load("cpus", "CPUs", number), load("memory", "Memory", bytes), cell(w.capacity.gpus ? `${w.used?.gpus ?? 0} / ${w.capacity.gpus}` : "–", "num"), cell(w.runtime), cell(age(w.last_pulse_at, Date.now()), "num"),
      make("td", {}, operator ? make("button", { type: "button", class: "small", "aria-label": `${verb} ${w.name}`, "data-verb": `workers/${w.id}/${verb}` }, open ? "Cordon" : "Uncordon") : ""));
  }) : [none(9, "No worker has joined.")]);
}

let opened = null;
export function openSchedule(id) { opened = id; }
export async function drawSchedules() {
  const page = await get("/v1/schedules?limit=500");
  write(at("schedules-count"), `${page.items.length} schedule${page.items.length === 1 ? "" : "s"}`);
  fill(at("schedules"), page.items.length ? page.items.map((s) => make("tr", { "data-key": s.id, class: s.id === opened ? "chosen" : null },
    make("td", { class: "grow" }, make("button", { type: "button", class: "plain", "aria-expanded": s.id === opened ? "true" : "false", "aria-controls": "schedule", "data-schedule": s.id }, s.name)),
    make("td", {}, make("code", {}, s.cron ?? s.at ?? s.delay ?? "–"), s.cron ? make("span", { class: "soft" }, ` ${s.timezone}`) : null), cell(s.paused ? "paused" : moment(s.next_fire_at), "num"),
    make("td", {}, s.last_outcome ? badge(s.last_outcome, TONES[s.last_outcome] ?? "over") : "–"), cell(s.active_jobs, "num"),
    make("td", { class: "acts" }, make("button", { type: "button", class: "small", "aria-label": `${s.paused ? "Resume" : "Pause"} ${s.name}`, "data-verb": `schedules/${s.id}/${s.paused ? "resume" : "pause"}` }, s.paused ? "Resume" : "Pause"),
      make("button", { type: "button", class: "small", "aria-label": `Trigger ${s.name} now`, "data-verb": `schedules/${s.id}/trigger` }, "Trigger"))))
    : [none(6, "No schedule yet.")]);
  const one = page.items.find((s) => s.id === opened);
  at("schedule").hidden = !one;
  if (one) await drawSchedule(one);
}
async function drawSchedule(s) {
  const { name, cron, at: when, timezone, overlap, misfire, jitter, start, end } = s;
  const rule = Object.fromEntries(Object.entries({ name, cron, at: when, timezone, overlap, misfire, jitter, start, end }).filter(([, value]) => value !== null && value !== undefined));
  const [next, past] = await Promise.all([s.paused || s.delay ? { items: [] } : post("/v1/schedules/preview", { ...rule, count: 8 }).catch(() => ({ items: [] })), get(`/v1/schedules/${s.id}/history?limit=50`)]);
  write(at("h-schedule"), s.name);
  fill(at("fires"), next.items.length ? next.items.map((fire) => make("li", {}, make("span", { class: "num" }, moment(fire.at)), fire.note ? make("span", { class: "soft" }, ` ${fire.note}`) : null)) : [make("li", { class: "soft" }, s.paused ? "It is paused." : "It will not fire again.")]);
  fill(at("history"), past.items.length ? past.items.map((h) => make("tr", {}, cell(moment(h.due_at), "num"), make("td", {}, badge(h.outcome, TONES[h.outcome] ?? "over")), cell(h.lateness_ms === null ? "–" : duration(h.lateness_ms), "num"),
    make("td", { class: "grow" }, h.job_id ? make("a", { href: `#/jobs/${h.job_id}` }, h.job_id) : h.message || words(h.reason)))) : [none(4, "Nothing was due yet.")]);
}

export async function drawModules() {
  const page = await get("/v1/modules");
  fill(at("modules"), page.items.map((m) => {
    const rings = Object.entries(m.rings ?? {});
    const full = largest(Object.fromEntries(rings.map(([name, ring]) => [name, ring.fill])));
    const rate = rings.reduce((sum, [, ring]) => sum + (ring.taken_per_s ?? 0), 0), dropped = rings.reduce((sum, [, ring]) => sum + (ring.dropped ?? 0), 0);
    return make("tr", { "data-key": m.name }, make("td", { class: "grow" }, make("strong", {}, m.name), make("span", { class: "soft purpose" }, m.purpose)),
      make("td", {}, badge(m.state, TONES[m.state] ?? (m.state === "unknown" ? "over" : "bad"))), cell(duration(largest(m.pulse_lag_ms)), "num"),
      make("td", {}, full === null ? "–" : bar(full, `fullest ring ${(100 * full).toFixed(1)} % full`)), cell(full === null ? "–" : `${number(Math.round(rate))}/s`, "num"), cell(full === null ? "–" : number(dropped), "num"),
      cell(m.restarts, "num"), cell(m.cpu_percent === undefined ? "–" : `${Math.round(m.cpu_percent)} %`, "num"), cell(bytes(m.memory_bytes), "num"),
      make("td", { class: "last" }, m.last_error ? make("span", { title: m.last_error.message }, `${age(m.last_error.at, Date.now())} ago: ${m.last_error.message.slice(0, 80)}`) : "–"));
  }));
}
