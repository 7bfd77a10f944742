// Steps of a graph or table are shown without leaving the page; without scripts the same links load it anew.
import { localised } from "./times.js";

export function steps(stream) {
  // Where a workflow is written, boxes lead to its lines.
  if (!document.querySelector("[data-graph], [data-step]") || document.querySelector("form[data-draft]")) return;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-graph] a, a[data-step], #step a[href*='step='], a[data-close]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(new URL(link.getAttribute("href"), location.href), stream, !link.matches("[data-close]"));
  });
  // Links in drawings answer to Enter by themselves; people expect Space to do the same.
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || !event.target.closest("[data-graph] a")) return;
    event.preventDefault();
    event.target.closest("a").dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  });
  document.addEventListener("parts", mark);
  // Going back to another step loads the page as it was then; going to a place within the page does not.
  addEventListener("popstate", () => { if (chosen() !== shown) location.reload(); });
  mark();
}

let shown = chosen();

function chosen() {
  return new URL(location.href).searchParams.get("step");
}

async function show(address, stream, focus) {
  const from = document.activeElement;
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const here = document.getElementById("live-step") || document.getElementById("step");
  const there = fresh.getElementById(here.id);
  if (!there) {
    location.assign(address);
    return;
  }
  here.replaceWith(document.importNode(there, true));
  history.pushState(null, "", address);
  shown = chosen();
  localised(document);
  mark();
  const main = fresh.querySelector("main[data-stream]");
  if (stream && main) stream.again(main.dataset.stream);
  const name = document.querySelector("#step h2, #step h3");
  if (focus && name) {
    name.tabIndex = -1;
    name.focus();
    name.scrollIntoView({ block: "nearest" });
  } else if (!focus) {
    const graph = document.querySelector("[data-graph]");
    (from.isConnected ? from : graph)?.focus();
  }
}

// Which box is shown.
function mark() {
  const step = chosen();
  for (const link of document.querySelectorAll("[data-graph] a")) {
    const own = new URL(link.getAttribute("href"), location.href).searchParams.get("step");
    link.classList.toggle("chosen", Boolean(step) && own === step.replace(/\[\d+\]/g, ""));
  }
}
