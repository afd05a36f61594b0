// One job: what it is, what it writes, why it waits, where its time went, and what one may do with it.
import { at, badge, facts, fill, make, write } from "./dom.js";
import { STATES, bytes, duration, isFinal, moment, plainText, words } from "./lib.js";
import { follow, get, post } from "./link.js";

const OUTPUT_MAX = 400000;
const span = (from, to) => (from && to ? Math.max(0, Date.parse(to) - Date.parse(from)) : null);

export class JobView {
  constructor(act, made) {
    this.act = act; this.id = null; this.stream = null; this.job = null; this.written = 0;
    for (const [name, does] of [["cancel", () => this.tell("cancel")], ["kill", () => this.tell("kill")], ["hold", () => this.tell("hold")], ["release", () => this.tell("release")],
      ["rerun", async () => made(await post(`/v1/jobs/${this.id}/rerun`))]]) at(name).addEventListener("click", act(does));
    at("output-wrap").addEventListener("change", () => at("output").classList.toggle("wrap", at("output-wrap").checked));
    at("output-which").addEventListener("change", () => { at("output").dataset.which = at("output-which").value; });
    at("output-tail").addEventListener("change", () => { if (at("output-tail").checked) at("output").scrollTop = at("output").scrollHeight; });
    at("output").addEventListener("wheel", (event) => { if (event.deltaY < 0) at("output-tail").checked = false; }, { passive: true });
  }

  async tell(verb) {
    const id = this.id;
    const job = await post(`/v1/jobs/${id}/${verb}`);
    if (id === this.id) { this.paint(job); await this.draw(); }
  }

  async open(id) {
    this.close();
    this.id = id; this.stream = new AbortController();
    at("detail").hidden = false;
    document.body.classList.add("detailed");
    for (const place of ["output", "why", "ledger", "job-facts", "attempts"]) at(place).replaceChildren();
    for (const place of ["h-job", "job-message", "spec"]) write(at(place), "");
    at("job-state").replaceChildren();
    this.written = 0;
    await this.draw();
    if (id !== this.id) return;
    at("detail").focus({ preventScroll: true });
    const { signal } = this.stream;
    follow(this.job.id, signal, (stream, text) => { if (!signal.aborted) this.output(stream, text); }).then(() => { if (!signal.aborted && !this.written) this.output("note", "Nothing was written.\n"); });
  }

  close() {
    this.stream?.abort();
    this.id = this.job = this.stream = null;
    at("detail").hidden = true;
    document.body.classList.remove("detailed");
  }

  output(stream, text) {
    const place = at("output");
    if (stream !== "note") this.written += text.length;
    const shown = plainText(text);
    const last = place.lastChild;
    if (last && last.className === stream && last.textContent.length < 8192) last.firstChild.appendData(shown);
    else place.append(make("span", { class: stream }, shown));
    let length = place.textContent.length;
    while (length > OUTPUT_MAX && place.childNodes.length > 1) { length -= place.firstChild.textContent.length; place.firstChild.remove(); }
    if (at("output-tail").checked) place.scrollTop = place.scrollHeight;
  }

  async draw() {
    const { id } = this;
    if (!id) return;
    const [job, why] = await Promise.all([get(`/v1/jobs/${encodeURIComponent(id)}`), get(`/v1/jobs/${encodeURIComponent(id)}/why`).catch(() => null)]);
    if (id !== this.id) return;
    this.paint(job);
    this.explain(job, why);
  }

  paint(job) {
    this.job = job;
    write(at("h-job"), job.name || job.id);
    if (at("job-state").dataset.state !== job.state) { at("job-state").dataset.state = job.state; }
    if (at("job-state").textContent !== words(job.state)) at("job-state").replaceChildren(badge(job.state, STATES[job.state]));
    write(at("job-message"), job.obituary ?? job.message);
    const over = isFinal(job.state), waits = STATES[job.state] === "waiting";
    at("cancel").hidden = over || job.state === "stopping"; at("kill").hidden = job.state !== "stopping";
    at("hold").hidden = !waits || job.state === "held"; at("release").hidden = job.state !== "held"; at("rerun").hidden = !over;
    const memory = job.result?.memory_peak_bytes;
    const size = (stream) => job.output_bytes?.[stream];
    fill(at("job-facts"), facts([
      ["Id", job.id], ["Image", job.spec?.image ?? job.image], ["User", job.user], ["Queue", job.queue], ["Worker", job.worker],
      ["Priority", job.priority], ["Submitted", moment(job.submitted_at)], ["Started", job.started_at && moment(job.started_at)],
      ["Finished", job.finished_at && moment(job.finished_at)], ["Waited", job.started_at && duration(span(job.submitted_at, job.started_at))],
      ["Ran", duration(job.result?.ran_ms ?? span(job.started_at, job.finished_at ?? new Date().toISOString()))], ["Attempt", job.attempt || null], ["Exit code", job.exit_code],
      ["Memory, peak", memory ? bytes(memory) : null], ["CPU time", job.result?.cpu_ms ? duration(job.result.cpu_ms) : null],
      ["Output", size("stdout") === null && size("stderr") === null ? null : `${bytes(size("stdout") ?? 0)} out, ${bytes(size("stderr") ?? 0)} err`],
      ["Labels", Object.entries(job.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", ")],
      ["Runs again", job.rerun_of && make("a", { href: `#/jobs/${job.rerun_of}` }, job.rerun_of)],
      ["Members", job.array && Object.entries(job.array.by_state).map(([state, count]) => `${count} ${words(state)}`).join(", ")],
    ]));
    write(at("spec"), JSON.stringify(job.spec, null, 2));
    const attempts = job.assignments ?? [];
    at("attempts-part").hidden = attempts.length === 0;
    fill(at("attempts"), attempts.map((one) => make("tr", {}, make("td", { class: "num" }, one.attempt), make("td", {}, words(one.outcome ?? one.state)),
      make("td", {}, one.worker ?? "–"), make("td", {}, one.reason ?? "–"), make("td", { class: "num" }, one.exit_code ?? "–"), make("td", { class: "num" }, duration(span(one.started_at, one.ended_at))))));
  }

  explain(job, why) {
    const parts = [];
    if (why?.position) parts.push(make("p", {}, `Its place in the line is ${why.position}.`));
    for (const one of why?.blockers ?? []) parts.push(make("p", {}, make("strong", {}, one.reason), ` ${one.message}`));
    if (why?.message) parts.push(make("p", {}, why.message));
    if (why?.would_start_if?.length) parts.push(make("p", { class: "soft" }, "It would start if:"), make("ul", {}, ...why.would_start_if.map((text) => make("li", {}, text))));
    const evidence = why?.ended?.evidence;
    if (evidence) parts.push(make("p", {}, why.ended.line), ...(evidence.earlier ?? []).map((one) => make("p", { class: "soft" }, typeof one === "string" ? one : `Before: ${Object.values(one).filter(Boolean).join(", ")}`)));
    if (!parts.length) parts.push(make("p", { class: "soft" }, isFinal(job.state) ? "It has ended." : "Nothing keeps it: it is under way."));
    fill(at("why"), parts);
    const ledger = (job.ledger ?? []).filter((one) => one.seconds > 0), whole = ledger.reduce((sum, one) => sum + one.seconds, 0);
    at("ledger-part").hidden = !whole;
    fill(at("ledger"), ledger.map((one) => {
      const inner = make("span", { class: `part phase-${one.phase}` });
      inner.style.width = `${Math.max(0.5, (100 * one.seconds) / whole).toFixed(2)}%`;
      return make("li", {}, make("span", { class: "phase" }, `${words(one.phase)}${one.reason && one.reason.toLowerCase() !== one.phase ? ` · ${one.reason}` : ""}`), make("span", { class: "bar" }, inner), make("span", { class: "num" }, duration(one.seconds * 1000)));
    }));
  }
}
