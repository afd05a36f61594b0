// The dashboard. Foreign text only ever becomes text (textContent), never markup.
import { Cutter, bytes, clock, duration, largest, points, readEvent, tail } from "./lib.js";

const PAGE = 50, OUTPUT_MAX = 200000, EVERY_MS = 4000;
const at = (id) => document.getElementById(id);
const KEY = "swarmsync:token";
let token = sessionStorage.getItem(KEY) ?? "";
let session = null; // ends what belongs to a log-in
let shown = { cursor: "", next: null, job: null, stream: null };
const rates = [], latencies = [];

class Refused extends Error { constructor(status, text) { super(text); this.status = status; } }

async function ask(method, path, { body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers: sent, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit" });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && session) leave("The session has ended; log in again.");
  throw new Refused(answer.status, problem.detail ?? problem.title ?? `answer ${answer.status}`);
}
const get = async (path, how) => (await ask("GET", path, how)).json();
const say = (text) => { at("notice").textContent = text; };

function make(kind, text) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  return made;
}
function row(cells) {
  const made = make("tr");
  for (const cell of cells) { const td = make("td"); td.append(cell instanceof Node ? cell : String(cell ?? "–")); made.append(td); }
  return made;
}
function button(text, act) { const made = make("button", text); made.type = "button"; made.addEventListener("click", guarded(act)); return made; }
function guarded(act) {
  return async (event) => {
    event?.preventDefault?.();
    try { say(""); await act(event); } catch (error) { if (error.name !== "AbortError") say(error.message); }
  };
}
/** Fill a list without taking the focus from what is in it. */
function fill(id, entries) {
  const place = at(id), had = place.contains(document.activeElement) ? document.activeElement.textContent : null;
  place.replaceChildren(...entries);
  if (had) [...place.querySelectorAll("button")].find((entry) => entry.textContent === had)?.focus({ preventScroll: true });
}
function pair(name, text) { const made = make("div"); made.append(make("dt", name), make("dd", text)); return made; }

async function drawStats() {
  const stats = await get("/v1/stats");
  fill("counts", Object.entries(stats.jobs).map(([state, count]) => pair(state, count)));
  const select = at("f-state");
  if (select.options.length === 1) select.append(...Object.keys(stats.jobs).map((state) => new Option(state, state)));
  rates.push(stats.finished_last_minute); latencies.push(stats.submit_to_start_ms.p50);
  at("rate").textContent = stats.finished_last_minute;
  at("latency").textContent = duration(stats.submit_to_start_ms.p50);
  for (const [id, values] of [["curve-rate", rates], ["curve-latency", latencies]]) {
    if (values.length > 150) values.shift();
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points(values));
    at(id).replaceChildren(line);
  }
}
async function drawJobs() {
  const query = new URLSearchParams({ limit: PAGE });
  if (shown.cursor) query.set("cursor", shown.cursor);
  if (at("f-state").value) query.set("state", at("f-state").value);
  if (at("f-name").value) query.set("name", at("f-name").value);
  const page = await get(`/v1/jobs?${query}`);
  shown.next = page.next_cursor;
  at("next").disabled = !page.next_cursor;
  at("page").textContent = `${page.items.length} jobs`;
  fill("jobs", page.items.map((job) => row([button(job.name || job.id, () => open(job.id)), job.state, job.worker, clock(job.since)])));
}
async function drawWorkers() {
  const page = await get("/v1/workers?limit=200");
  fill("workers", page.items.map((w) => row([w.name, `${w.liveness}, ${w.eligibility}`, w.jobs,
    `${w.used ? `${w.used.cpus} of ` : ""}${w.capacity.cpus}`, `${w.used ? `${bytes(w.used.memory)} of ` : ""}${bytes(w.capacity.memory)}`])));
}
async function drawSchedules() {
  const page = await get("/v1/schedules?limit=200");
  fill("schedules", page.items.map((s) => row([button(s.name, () => drawHistory(s)), s.cron ?? s.at ?? s.delay, s.paused ? "paused" : clock(s.next_fire_at), s.last_outcome])));
}
async function drawHistory(schedule) {
  const page = await get(`/v1/schedules/${encodeURIComponent(schedule.id)}/history?limit=20`);
  fill("history", page.items.map((h) => make("li", `${clock(h.due_at)} ${h.outcome} ${h.message ?? ""}`)));
}
async function drawModules() {
  const page = await get("/v1/modules");
  fill("modules", page.items.map((m) => {
    const full = largest(Object.fromEntries(Object.entries(m.rings ?? {}).map(([name, ring]) => [name, ring.fill])));
    return row([m.name, m.state, duration(largest(m.pulse_lag_ms)), full === null ? "–" : `${(100 * full).toFixed(1)} %`, m.restarts]);
  }));
}

async function open(id) {
  shown.stream?.abort();
  shown.job = id; shown.stream = new AbortController();
  at("detail").hidden = false;
  at("output").textContent = ""; at("why").textContent = "";
  await drawJob();
  at("detail").focus();
  follow(id, shown.stream.signal);
}
async function drawJob() {
  const id = shown.job;
  if (!id) return;
  const [job, why] = await Promise.all([get(`/v1/jobs/${id}`), get(`/v1/jobs/${id}/why`).catch((error) => ({ message: error.message }))]);
  if (id !== shown.job) return;
  at("h-job").textContent = job.name || job.id;
  at("job-state").textContent = `${job.state}${job.message ? `: ${job.message}` : ""}`;
  at("cancel").disabled = Boolean(job.finished_at) || job.state === "stopping";
  const facts = { Id: job.id, User: job.user, Queue: job.queue, Image: job.image ?? job.spec?.image, Submitted: clock(job.submitted_at),
    Started: clock(job.started_at), Finished: clock(job.finished_at), Worker: job.worker, Attempt: job.attempt, "Exit code": job.exit_code };
  fill("job-facts", Object.entries(facts).flatMap(([name, text]) => [make("dt", name), make("dd", String(text ?? "–"))]));
  at("why").textContent = JSON.stringify({ why, obituary: job.obituary, ledger: job.ledger }, null, 2);
}
/** Read what a job writes until it ends. A connection that breaks is taken up behind the last byte. */
async function follow(id, signal) {
  const from = { stdout: 0, stderr: 0 };
  let attempt = null, ended = false;
  while (!ended && !signal.aborted) {
    try {
      const place = attempt === null ? "" : `&attempt=${attempt}&stdout_from=${from.stdout}&stderr_from=${from.stderr}`;
      const answer = await ask("GET", `/v1/jobs/${id}/logs?follow=1&format=jsonl${place}`, { signal });
      await pieces(answer, "\n", (line) => {
        if (!line.trim()) return;
        const piece = JSON.parse(line);
        if (piece.end) ended = true;
        if (!piece.stream) return;
        if (piece.attempt !== attempt) { attempt = piece.attempt; from.stdout = from.stderr = 0; }
        const raw = piece.data_b64 !== undefined ? atob(piece.data_b64) : piece.data ?? "";
        from[piece.stream] = piece.offset + (piece.data_b64 !== undefined ? raw.length : new TextEncoder().encode(raw).length);
        const place = at("output"), low = place.scrollTop + place.clientHeight >= place.scrollHeight - 20;
        place.textContent = tail(place.textContent + raw, OUTPUT_MAX);
        if (low) place.scrollTop = place.scrollHeight;
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500 && error.status !== 429) { at("output").textContent = error.message; return; }
    }
    if (!ended) await pause(1000, signal);
  }
}
async function pieces(answer, separator, take) {
  const reader = answer.body.getReader(), decoder = new TextDecoder(), cutter = new Cutter(separator);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const part of cutter.take(decoder.decode(value, { stream: true }))) take(part);
  }
}
function pause(ms, signal) {
  return new Promise((done) => { const timer = setTimeout(done, ms); signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true }); });
}
/** Listen to every change; a broken stream is taken up behind the last event. */
async function listen(signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", "/v1/events", { signal, headers: last ? { "Last-Event-ID": last } : {} });
      at("link").textContent = "live";
      await pieces(answer, "\n\n", (block) => {
        const event = readEvent(block);
        if (!event) return;
        last = event.id;
        changed(JSON.parse(event.data));
      });
    } catch { /* said below */ }
    if (signal.aborted) return;
    at("link").textContent = "connection lost; trying again";
    await pause(1000, signal);
  }
}
let due = null;
/** However many events come, the lists are read again at most twice a second. */
function changed(event) {
  const mine = event.job === shown.job;
  due ??= { timer: setTimeout(() => {
    const now = due; due = null;
    if (session) guarded(() => Promise.all([drawStats(), drawJobs(), now.mine ? drawJob() : null]))();
  }, 500), mine: false };
  due.mine ||= mine;
}

async function enter() {
  session = new AbortController();
  const { signal } = session;
  const who = await get("/v1/auth/session");
  at("link").textContent = who.username;
  at("login").hidden = true; at("board").hidden = false; at("logout").hidden = false;
  at("main").focus();
  listen(signal);
  while (!signal.aborted) {
    const draws = [drawStats, drawJobs, drawWorkers, drawSchedules, drawModules];
    const failed = (await Promise.allSettled(draws.map((draw) => draw()))).find((one) => one.status === "rejected");
    if (failed && !signal.aborted) say(failed.reason.message);
    await pause(EVERY_MS, signal);
    while (document.hidden && !signal.aborted) await pause(EVERY_MS, signal);
  }
}
function leave(text = "") {
  session?.abort(); shown.stream?.abort();
  session = null; token = ""; shown = { cursor: "", next: null, job: null, stream: null };
  sessionStorage.removeItem(KEY);
  for (const id of ["jobs", "workers", "schedules", "history", "modules", "counts", "job-facts"]) fill(id, []);
  at("output").textContent = at("why").textContent = at("link").textContent = "";
  at("detail").hidden = at("board").hidden = at("logout").hidden = true;
  at("login").hidden = false; at("username").focus();
  say(text);
}

at("login").addEventListener("submit", guarded(async () => {
  const answer = await ask("POST", "/v1/auth/login", { body: { username: at("username").value, password: at("password").value } });
  token = (await answer.json()).token;
  at("password").value = "";
  sessionStorage.setItem(KEY, token);
  await enter();
}));
at("logout").addEventListener("click", guarded(async () => { try { await ask("DELETE", "/v1/auth/session"); } finally { leave(); } }));
at("filter").addEventListener("submit", guarded(() => { shown.cursor = ""; return drawJobs(); }));
at("first").addEventListener("click", guarded(() => { shown.cursor = ""; return drawJobs(); }));
at("next").addEventListener("click", guarded(() => { shown.cursor = shown.next ?? ""; return drawJobs(); }));
at("cancel").addEventListener("click", guarded(async () => { await ask("POST", `/v1/jobs/${shown.job}/cancel`, { body: {} }); await drawJob(); }));
at("rerun").addEventListener("click", guarded(async () => { const made = await (await ask("POST", `/v1/jobs/${shown.job}/rerun`, { body: {} })).json(); await open(made.id); await drawJobs(); }));
at("close").addEventListener("click", () => { shown.stream?.abort(); shown.job = null; at("detail").hidden = true; at("f-name").focus(); });
if (token) guarded(enter)(); else at("username").focus();
