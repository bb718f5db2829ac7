// Looks for news every two seconds. What is new is put at the end and what is over is marked where it
// stands: nothing moves under somebody's finger. The page works without this, by reloading.
"use strict";

const EVERY_MS = 2000;
const list = document.getElementById("list");
const away = document.getElementById("away");
const none = document.getElementById("none");

function over(card, text) {
  if (card.classList.contains("over")) return;
  card.classList.add("over");
  for (const button of card.querySelectorAll("button")) button.disabled = true;
  card.querySelector("time").textContent = text;
}

function take(html) {
  const news = new DOMParser().parseFromString(html, "text/html");
  const there = new Map();
  for (const card of news.querySelectorAll("article")) there.set(card.id, card);
  for (const card of list.querySelectorAll("article")) {
    if (!there.has(card.id)) over(card, "decided elsewhere, or over");
    there.delete(card.id);
  }
  const more = list.querySelector(".more");
  if (more) more.remove();
  for (const card of there.values()) list.append(document.adoptNode(card));
  count();
  const left = news.querySelector(".more");
  if (left) list.append(document.adoptNode(left));
  none.hidden = list.querySelector("article:not(.over)") !== null;
  const open = list.querySelectorAll("article:not(.over)").length;
  document.title = (open ? "(" + open + ") " : "") + "Approvals · Ops-Center";
}

async function look() {
  try {
    const answer = await fetch("?part=1", { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") return location.reload(); // signed out meanwhile
    if (!answer.ok) throw new Error(String(answer.status));
    take(await answer.text());
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
  setTimeout(look, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

function count() {
  for (const time of list.querySelectorAll("article:not(.over) time")) {
    // By how much was left when it came: this machine's clock may be another than the gateway's.
    time.endsAt ??= performance.now() + 1000 * Number(time.dataset.left);
    const left = Math.max(0, Math.ceil((time.endsAt - performance.now()) / 1000));
    time.textContent = left + " s left";
  }
}

count();
setInterval(count, 1000);
setTimeout(look, EVERY_MS);
