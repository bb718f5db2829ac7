// Has the live page look at once when the gateway says that something has happened. Without this,
// or with the socket cut, it looks every few seconds all the same.
"use strict";

const SOONEST_MS = 1000;
const LATEST_MS = 30000;
const OVER = 4401; // the session has ended: the page's own look leads to the sign-in

const page = document.querySelector("[data-bell]");
let patience = SOONEST_MS;

function listen() {
  const socket = new WebSocket(new URL(page.dataset.bell, location.href.replace(/^http/, "ws")));
  socket.addEventListener("open", () => {
    patience = SOONEST_MS;
    page.dispatchEvent(new Event("rung")); // what it missed until now
  });
  socket.addEventListener("message", () => page.dispatchEvent(new Event("rung")));
  socket.addEventListener("close", (end) => {
    if (end.code === OVER) return;
    setTimeout(listen, patience * (0.5 + Math.random() / 2));
    patience = Math.min(patience * 2, LATEST_MS);
  });
}

if (page) listen();
