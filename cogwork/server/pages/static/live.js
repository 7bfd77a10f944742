// Follows a stream of the server that sends those parts of the page that have changed, and puts them in their places.
import { localised } from "./times.js";

// What is told of is a part of this page, as the server has rendered it, with everything that is data escaped.
function replaced(region, part) {
  const within = region.contains(document.activeElement) ? trace(region) : null;
  const open = new Set([...region.querySelectorAll("details[open]")].map(nameOf));
  const typed = new Map(fields(region).filter(changed).map((each) => [keyOf(each), [each.value, each.checked]]));
  const scrolled = [...region.querySelectorAll(".scroller, .value")].map((each) => [each.scrollLeft, each.scrollTop]);
  const fresh = new DOMParser().parseFromString(part.html, "text/html");
  region.replaceChildren(...fresh.body.childNodes);
  region.dataset.live = part.digest;
  for (const each of region.querySelectorAll("details")) if (open.has(nameOf(each))) each.open = true;
  [...region.querySelectorAll(".scroller, .value")].forEach((each, index) => {
    if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
  });
  for (const each of fields(region)) if (typed.has(keyOf(each))) [each.value, each.checked] = typed.get(keyOf(each));
  localised(region);
  if (within) restore(region, within);
}

function nameOf(details) {
  return details.id || details.querySelector("summary").textContent;
}

// What somebody has filled in already stands in the new part as well.
function fields(region) {
  return [...region.querySelectorAll("input[name]:not([type=hidden]), textarea[name], select[name]")];
}

function changed(each) {
  if (each.matches("[type=checkbox], [type=radio]")) return each.checked !== each.defaultChecked;
  return each.matches("select") || each.value !== each.defaultValue;
}

function keyOf(each) {
  const one = each.matches("[type=checkbox], [type=radio]") ? each.value : "";
  return [each.form?.getAttribute("action"), each.name, one].join(" ");
}

// Where the focus is, so that it can be put back: by id, by where a link leads, or by what a button says.
function trace(region) {
  const at = document.activeElement;
  return { id: at.id, href: at.getAttribute("href"), text: at.textContent.trim(), tag: at.localName, label: at.getAttribute("aria-label") };
}

function restore(region, was) {
  const all = [...region.querySelectorAll("a, button, input, select, textarea, summary, [tabindex]")];
  const found =
    (was.id && all.find((each) => each.id === was.id)) ||
    (was.href && all.find((each) => each.getAttribute("href") === was.href)) ||
    (was.label && all.find((each) => each.getAttribute("aria-label") === was.label)) ||
    all.find((each) => each.localName === was.tag && each.textContent.trim() === was.text);
  if (found) found.focus({ preventScroll: true });
}

// Somebody who is filling in a field is not interrupted: what has come meanwhile is put in place afterwards.
const waiting = new Map();

function busy(region) {
  const at = document.activeElement;
  return region.contains(at) && at.matches("input, select, textarea");
}

export function applied(parts) {
  const told = document.getElementById("told");
  const before = said();
  for (const part of parts) {
    const region = document.getElementById(`live-${part.name}`);
    if (!region || region.dataset.live === part.digest) waiting.delete(part.name);
    else if (busy(region)) waiting.set(part.name, part);
    else {
      waiting.delete(part.name);
      replaced(region, part);
    }
  }
  if (told && said() !== before) told.textContent = said();
  document.dispatchEvent(new CustomEvent("parts"));
}

function said() {
  const found = document.querySelector("[data-said]");
  return found ? found.dataset.said : "";
}

export function follow(main) {
  let source = null;
  const stop = () => source && source.close();
  const begin = () => {
    stop();
    source = new EventSource(main.dataset.stream);
    source.onmessage = (event) => applied(JSON.parse(event.data));
    source.addEventListener("over", () => {
      stop();
      main.dataset.over = "true";
    });
    source.onopen = () => { main.dataset.following = "true"; };
  };
  document.addEventListener("focusout", () => {
    if (waiting.size) setTimeout(() => applied([...waiting.values()]));
  });
  begin();
  // A page that is left lets go of its stream, and one that is come back to takes it up.
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
  // A browser has few connections to one server: tabs that nobody sees leave theirs to the others.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (!main.dataset.over) begin();
  });
  return { again: (address) => { main.dataset.stream = address; if (!main.dataset.over) begin(); } };
}
