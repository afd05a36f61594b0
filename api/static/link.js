// The line to Core: requests with the session's token, and streams that are taken up where they broke.
import { Cutter, readEvent } from "./lib.js";

const KEY = "swarmsync:token";
export class Refused extends Error { constructor(status, text) { super(text); this.status = status; } }

export const link = {
  token: sessionStorage.getItem(KEY) ?? "",
  onExpired: () => {},
  keep(token) { this.token = token; sessionStorage.setItem(KEY, token); },
  forget() { this.token = ""; sessionStorage.removeItem(KEY); },
  under_way: new AbortController(),
  /** Let go of what was asked and is not answered: nobody waits for it any more. */
  hangUp() { this.under_way.abort(); this.under_way = new AbortController(); },
};

export async function ask(method, path, { body, headers = {}, signal = link.under_way.signal } = {}) {
  const sent = { ...headers };
  if (link.token) sent.Authorization = `Bearer ${link.token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "Core does not answer; trying again.");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && link.token) link.onExpired();
  throw new Refused(answer.status, problem.detail ?? problem.title ?? `answer ${answer.status}`);
}
export const get = async (path, how) => (await ask("GET", path, how)).json();
export const post = async (path, body = {}, how = {}) => (await ask("POST", path, { ...how, body })).json();

export function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

async function pieces(answer, separator, take) {
  const reader = answer.body.getReader(), decoder = new TextDecoder(), cutter = new Cutter(separator);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = cutter.take(decoder.decode(value, { stream: true }));
    if (parts.length) take(parts);
  }
}

/** Listen to every change; a broken stream is taken up behind the last event. `told` hears "live" and "lost". */
export async function listen(signal, took, told) {
  let last = "", wait = 500;
  while (!signal.aborted) {
    try {
      const answer = await ask("GET", "/v1/events", { signal, headers: last ? { "Last-Event-ID": last } : {} });
      told("live");
      wait = 500;
      await pieces(answer, "\n\n", (blocks) => {
        const found = blocks.map(readEvent).filter(Boolean);
        if (!found.length) return;
        last = found.at(-1).id;
        took(found.map((event) => JSON.parse(event.data)));
      });
    } catch { /* said below */ }
    if (signal.aborted) return;
    told("lost");
    await pause(wait, signal);
    wait = Math.min(wait * 2, 10000);
  }
}

/** Read what a job writes until it ends. A connection that breaks is taken up behind the last byte. */
export async function follow(id, signal, took) {
  const from = { stdout: 0, stderr: 0 }, encoder = new TextEncoder();
  const decoders = {};
  let attempt = null, ended = false;
  while (!ended && !signal.aborted) {
    const place = attempt === null ? "" : `&attempt=${attempt}&stdout_from=${from.stdout}&stderr_from=${from.stderr}`;
    try {
      const answer = await ask("GET", `/v1/jobs/${id}/logs?follow=1&format=jsonl${place}`, { signal });
      await pieces(answer, "\n", (lines) => {
        for (const line of lines) {
          if (!line.trim()) continue;
          const piece = JSON.parse(line);
          if (piece.end) ended = true;
          if (!piece.stream) continue;
          if (piece.attempt !== attempt) {
            if (attempt !== null) took("note", `— attempt ${piece.attempt} —\n`);
            attempt = piece.attempt; from.stdout = from.stderr = 0;
          }
          const raw = piece.data_b64 !== undefined ? Uint8Array.from(atob(piece.data_b64), (c) => c.charCodeAt(0)) : encoder.encode(piece.data ?? "");
          from[piece.stream] = piece.offset + raw.length;
          decoders[piece.stream] ??= new TextDecoder();
          took(piece.stream, decoders[piece.stream].decode(raw, { stream: true }));
        }
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429) { took("note", `${error.message}\n`); return; }
    }
    if (!ended) await pause(1000, signal);
  }
}
