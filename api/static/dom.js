// Making elements. Foreign text only ever becomes text (textContent), never markup.

export const at = (id) => document.getElementById(id);

/** make("td", { class: "num", onclick: f }, "text", element, ...) */
export function make(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
export function draw(kind, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Change a text only where it differs: what has not changed is not read out again, and not laid out again. */
export function write(element, text) {
  const wanted = String(text ?? "–");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/**
 * Make a list what `entries` say, by changing what is there: the focus stays, and a click that began on a row ends on it.
 * Entries with the same `data-key` are the same; buttons in them say what they do in data-verb, not in a listener.
 */
export function fill(place, entries) {
  const had = document.activeElement;
  const keyed = new Map([...place.children].filter((old) => old.dataset.key).map((old) => [old.dataset.key, old]));
  let here = place.firstChild;
  for (const entry of entries) {
    const key = entry.dataset?.key;
    const old = key ? keyed.get(key) : here && !here.dataset?.key && here.nodeName === entry.nodeName ? here : null;
    if (!old) { place.insertBefore(entry, here); continue; }
    if (old === here) here = here.nextSibling; else place.insertBefore(old, here);
    become(old, entry);
  }
  while (here) { const next = here.nextSibling; here.remove(); here = next; }
  if (had !== document.activeElement && had?.isConnected && place.contains(had)) had.focus({ preventScroll: true });
}
function become(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== wanted.data) old.data = wanted.data; return; }
  for (const name of old.getAttributeNames()) if (name !== "style" && !wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const name of wanted.getAttributeNames()) if (name !== "style" && old.getAttribute(name) !== wanted.getAttribute(name)) old.setAttribute(name, wanted.getAttribute(name));
  if (old.style.cssText !== wanted.style.cssText) old.style.cssText = wanted.style.cssText;
  const [olds, news] = [[...old.childNodes], [...wanted.childNodes]];
  news.forEach((child, n) => {
    if (!olds[n]) old.append(child);
    else if (olds[n].nodeName !== child.nodeName) olds[n].replaceWith(child);
    else become(olds[n], child);
  });
  olds.slice(news.length).forEach((child) => child.remove());
}

/** A state with its colour; the word is always there, the colour only helps. */
export function badge(state, tone) { return make("span", { class: `badge ${tone}` }, state.replaceAll("_", " ")); }

export function bar(share, label) {
  const inner = make("span", { class: share > 0.9 ? "part full" : "part" });
  inner.style.width = `${Math.min(100, Math.max(0, share * 100)).toFixed(1)}%`;
  return make("span", { class: "bar", role: "img", "aria-label": label }, inner);
}

export function facts(pairs) {
  return pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
}
