// While a workflow is written, what is wrong with it and its picture follow; links lead to its lines.
const WAIT = 500;

export function design() {
  const form = document.querySelector("form[data-draft]");
  if (!form) return;
  const text = form.querySelector("textarea");
  let timer = 0;
  let asked = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, WAIT);
  });
  form.addEventListener("click", (event) => {
    const line = event.target.closest("[data-line]");
    const box = event.target.closest("[data-graph] a");
    if (!line && !box) return;
    event.preventDefault();
    select(text, line ? Number(line.dataset.line) : lineOf(text.value, box));
  });

  async function check() {
    const mine = ++asked;
    const body = new URLSearchParams(new FormData(form));
    body.set("do", "check");
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
    if (mine !== asked || !fresh) return;
    document.getElementById("preview").replaceWith(document.importNode(fresh, true));
    document.getElementById("told").textContent = document.querySelector("[data-verdict]").textContent;
  }
}

// The line on which the step of a box begins.
function lineOf(text, box) {
  const id = box.getAttribute("aria-label").split(" ")[0];
  const name = id.split(".").pop().replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = text.split("\n").findIndex((line) => new RegExp(`^\\s*"?${name}"?\\s*:`).test(line));
  return found + 1 || 1;
}

function select(text, line) {
  const lines = text.value.split("\n");
  const begin = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  text.focus();
  text.setSelectionRange(begin, begin + (lines[line - 1] ?? "").length);
  const height = parseFloat(getComputedStyle(text).lineHeight) || 20;
  text.scrollTop = Math.max(0, (line - 4) * height);
}
