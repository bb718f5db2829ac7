// Two things that a page cannot do by itself: copy a text, and look for news. Without this the texts
// are selected whole by a click, and the live parts have a link that loads them anew.
"use strict";

const SAID_MS = 2000;

function put(text, pre) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS a browser gives no clipboard, but to what is selected.
  const range = document.createRange();
  range.selectNodeContents(pre);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return document.execCommand("copy") ? Promise.resolve() : Promise.reject(new Error("refused"));
}

for (const box of document.querySelectorAll(".copy")) {
  const pre = box.querySelector("pre");
  const button = document.createElement("button");
  const what = pre.getAttribute("aria-label");
  button.type = "button";
  button.textContent = "Copy";
  if (what) button.setAttribute("aria-label", "Copy: " + what);
  button.addEventListener("click", async () => {
    try {
      await put(pre.textContent, pre);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => (button.textContent = "Copy"), SAID_MS);
  });
  box.classList.add("has-button");
  box.append(button);
}

// A part with data-live is asked for until it comes without it; it is put in only where it changed.
async function look(part, seen) {
  const every = Number(part.dataset.every) * 1000;
  let now = seen;
  try {
    const answer = await fetch(part.dataset.live, { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") return; // signed out meanwhile
    if (answer.ok) now = await answer.text();
  } catch {
    // The gateway is away; the next look may find it.
  }
  if (now !== seen) {
    const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
    part.innerHTML = now; // from our own templates, which escape what others wrote
    for (const each of part.querySelectorAll("details")) each.open = open.includes(each.id);
    if (part.querySelector("[data-over]")) return;
  }
  setTimeout(look, document.hidden ? 5 * every : every, part, now);
}

for (const part of document.querySelectorAll("[data-live]")) {
  setTimeout(look, Number(part.dataset.every) * 1000, part, null);
}
