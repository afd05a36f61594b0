// The dashboard: who is logged in, which view is shown, and when what is drawn.
import { at, make, write } from "./dom.js";
import { STATES, number, readSearch, words } from "./lib.js";
import { ask, get, link, listen, pause, post } from "./link.js";
import { JobList } from "./jobs.js";
import { JobView } from "./job.js";
import { drawBusiest, drawLatest, drawModules, drawOverview, drawSchedules, drawWorkers, openSchedule, setUpCurves } from "./boards.js";

const EVERY_MS = 5000, AFTER_EVENTS_MS = 1000;
const VIEWS = ["overview", "jobs", "workers", "schedules", "engine"];
let session = null; // ends what belongs to a log-in
let who = null, view = "overview", returnTo = null;

const say = (text) => write(at("notice"), text);
function guarded(act) {
  return async (event) => {
    event?.preventDefault?.();
    try { say(""); await act(event); } catch (error) { if (error.name !== "AbortError") say(error.message); }
  };
}
const list = new JobList((id) => { location.hash = `#/jobs/${id}`; });
const job = new JobView(guarded, (made) => { location.hash = `#/jobs/${made.id}`; });

// ---------------------------------------------------------------- views

const draws = {
  overview: () => Promise.all([drawOverview(counted), drawLatest(), drawBusiest()]),
  jobs: async () => { counted(await get("/v1/stats")); list.soon(); },
  workers: () => drawWorkers(["admin", "operator"].includes(who?.role)),
  schedules: () => drawSchedules(),
  engine: drawModules,
};
async function draw() {
  if (!session || session.signal.aborted) return;
  await draws[view]();
}
function show(wanted) {
  view = wanted;
  for (const name of VIEWS) {
    at(`view-${name}`).hidden = name !== wanted;
    const tab = at(`tab-${name}`);
    if (name === wanted) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
  }
  document.title = `${wanted[0].toUpperCase()}${wanted.slice(1)} – SwarmSync`;
}
const route = guarded(async () => {
  if (!session || session.signal.aborted) return;
  const [, name, id] = location.hash.split("/");
  const wanted = VIEWS.includes(name) ? name : "overview";
  const moved = wanted !== view;
  show(wanted);
  if (wanted === "jobs" && id) {
    const wanted_id = decodeURIComponent(id);
    if (job.id !== wanted_id) { returnTo = document.activeElement; list.choose(wanted_id); await job.open(wanted_id); }
  } else if (job.id) { shut(); }
  if (moved || wanted !== "jobs") await draw();
  list.soon();
});
function shut() {
  const had = job.id;
  job.close();
  list.choose(null);
  const row = list.rows.get(had)?.querySelector("a");
  if (row) row.focus({ preventScroll: true }); else if (returnTo?.isConnected) returnTo.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- the filter of the jobs

/** The chips are both counts and filters: several may be pressed. */
function counted(stats) {
  const place = at("chips");
  if (!place.children.length) {
    for (const state of Object.keys(stats.jobs)) {
      place.append(make("button", { type: "button", class: `chip ${STATES[state]}`, "aria-pressed": "false", "data-state": state, onclick: guarded(() => press(state)) }, words(state), make("span", { class: "num" })));
    }
  }
  for (const chip of place.children) {
    const count = stats.jobs[chip.dataset.state] ?? 0;
    write(chip.lastChild, number(count));
    chip.classList.toggle("empty", !count && chip.getAttribute("aria-pressed") === "false");
  }
}
async function press(state) {
  const states = new Set(list.states);
  if (!states.delete(state)) states.add(state);
  list.states = [...states];
  for (const chip of at("chips").children) chip.setAttribute("aria-pressed", String(states.has(chip.dataset.state)));
  await list.load();
}
let typed = null;
at("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(searched, 250); });
at("filter").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typed); searched(); });
const searched = guarded(async () => { list.search = readSearch(at("search").value); await list.load(); });

// ---------------------------------------------------------------- what changes

let due = null;
/** Rows change at once; figures are read again at most once a second, however many events come. */
function changed(events) {
  const reread = !list.take(events);
  due ??= { reread: false, timer: setTimeout(() => {
    const now = due;
    due = null;
    if (session) guarded(() => Promise.all([["overview", "jobs"].includes(view) ? draw() : null, now.reread ? list.load() : null]))();
  }, AFTER_EVENTS_MS) };
  due.reread ||= reread;
  if (job.id && events.some((event) => event.job === job.id)) guarded(() => job.draw())();
}
function told(state) {
  at("link").className = state;
  write(at("link"), state === "live" ? "Live" : "Connection lost; trying again");
  if (state === "live") say("");
}

async function enter() {
  who = await get("/v1/auth/session");
  session = new AbortController();
  const { signal } = session;
  write(at("who"), who.username);
  at("login").hidden = true;
  document.body.classList.add("entered");
  for (const id of ["board", "tabs", "logout", "who"]) at(id).hidden = false;
  listen(signal, changed, told);
  await Promise.allSettled([list.load(), get("/v1/stats").then(counted)]);
  if (signal.aborted) return; // logged out meanwhile
  await route();
  if (!signal.aborted) at("main").focus({ preventScroll: true });
  while (!signal.aborted) {
    await pause(EVERY_MS, signal);
    if (!document.hidden && !signal.aborted) await draw().catch((error) => { if (!signal.aborted) say(error.message); });
  }
}
function leave(text = "") {
  session?.abort();
  session = who = null;
  job.close(); list.clear(); link.forget();
  for (const id of ["chips", "latest", "waiting", "busiest", "workers", "schedules", "fires", "history", "modules"]) at(id).replaceChildren();
  document.body.classList.remove("entered");
  for (const id of ["board", "tabs", "logout", "who"]) at(id).hidden = true;
  at("link").className = ""; write(at("link"), "");
  at("login").hidden = false;
  at("username").focus();
  say(text);
}
link.onExpired = () => { if (session) leave("The session has ended; log in again."); else link.forget(); };

at("login").addEventListener("submit", guarded(async () => {
  const answer = await ask("POST", "/v1/auth/login", { body: { username: at("username").value, password: at("password").value } });
  link.keep((await answer.json()).token);
  at("password").value = "";
  await enter();
}));
at("logout").addEventListener("click", guarded(async () => {
  session?.abort();
  link.hangUp();
  try { await ask("DELETE", "/v1/auth/session"); } finally { leave(); }
}));
at("close").addEventListener("click", () => { location.hash = "#/jobs"; });
at("board").addEventListener("click", (event) => {
  const told_by = event.target.closest("[data-verb], [data-schedule]");
  if (!told_by) return;
  const { verb, schedule } = told_by.dataset;
  guarded(async () => {
    if (verb) await post(`/v1/${verb}`); else openSchedule(schedule);
    await draw();
    if (schedule) at("schedule").focus();
  })();
});
at("minutes").addEventListener("change", guarded(draw));
addEventListener("hashchange", route);
addEventListener("resize", () => { list.soon(); if (view === "overview") guarded(draw)(); });

// ---------------------------------------------------------------- keys and colours

const GOES = { o: "overview", j: "jobs", w: "workers", s: "schedules", e: "engine" };
addEventListener("keydown", (event) => {
  if (!session || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && job.id) { location.hash = "#/jobs"; return; }
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === "/") { event.preventDefault(); location.hash = "#/jobs"; show("jobs"); at("search").focus(); at("search").select(); }
  else if (event.key in GOES) location.hash = `#/${GOES[event.key]}`;
  else if (event.key === "?") at("keys").showModal();
  else if (view === "jobs" && !event.target.closest("#jobs, #detail, dialog, button")) list.key(event);
});
at("keys-open").addEventListener("click", () => at("keys").showModal());

const THEMES = ["auto", "light", "dark"], THEME_KEY = "swarmsync:theme";
function paintTheme(theme) {
  document.documentElement.dataset.theme = theme;
  write(at("theme"), { auto: "Auto", light: "Light", dark: "Dark" }[theme]);
  at("theme").setAttribute("aria-label", `Colours: ${theme}; change`);
}
at("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem(THEME_KEY, next);
  paintTheme(next);
});
paintTheme(THEMES.includes(localStorage.getItem(THEME_KEY)) ? localStorage.getItem(THEME_KEY) : "auto");
setUpCurves();
if (link.token) enter().catch((error) => leave(error.status === 401 ? "" : error.message)); else at("username").focus();
