// Keeps a page as the server says it is, without taking away what somebody is doing on it: elements stay, what differs
// is changed in them, so that focus, selection, opened details and the place on the page are kept.
"use strict";

document.documentElement.classList.add("js");

const SILENCE = 15000; // Without a word for so long, the page says that it is not live any more.

function same(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
}

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-rel") && old.dataset.at === fresh.dataset.at) return;
  for (const { name } of [...old.attributes]) {
    const theirs = name === "open" && old.nodeName === "DETAILS";
    if (!fresh.hasAttribute(name) && !theirs) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = wanted.id && [...old.children].find((child) => child.id === wanted.id && same(child, wanted));
    if (known && known !== at) old.insertBefore(known, at);
    const here = known || (at && same(at, wanted) ? at : null);
    if (here) {
      morph(here, wanted);
      at = here.nextSibling;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function update(parts) {
  const before = announced();
  const parser = new DOMParser();
  for (const [name, html] of Object.entries(parts)) {
    const section = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (section) morphChildren(section, parser.parseFromString(html, "text/html").body);
  }
  announce(before);
  tick();
}

// Only what a person must hear is spoken: the headline and what is asked, not every figure that moves.
function announced() {
  return new Map([...document.querySelectorAll("[data-announce]")].map((one) => [one.dataset.announce, one.textContent]));
}

function announce(before) {
  const news = [...announced()].filter(([name, text]) => before.get(name) !== text).map(([, text]) => text.trim());
  if (news.length) document.getElementById("announcer").textContent = news.join(" ");
}

function spell(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${seconds} s`;
}

function tick() {
  for (const one of document.querySelectorAll("[data-rel]")) {
    const seconds = Math.round((new Date(one.dataset.at) - Date.now() - skew) / 1000);
    const text = one.dataset.rel === "until"
      ? (seconds > 0 ? `(in ${spell(seconds)})` : "(now)")
      : `(${spell(Math.max(0, -seconds))} ago)`;
    if (one.textContent !== text) one.textContent = text;
  }
}

let skew = 0; // The server's clock is the one that counts.
let heard = Date.now();
let over = "";

function show(state, text) {
  const live = document.getElementById("live");
  if (!live) return;
  live.dataset.state = state;
  const words = live.querySelector(".script-only");
  if (words.textContent !== text) {
    words.textContent = text;
    if (state === "lost") document.getElementById("announcer").textContent = text;
  }
}

function follow(address) {
  const source = new EventSource(address);
  source.addEventListener("parts", (event) => {
    heard = Date.now();
    const told = JSON.parse(event.data);
    if (told.at) skew = new Date(told.at) - Date.now();
    update(told.parts);
    show("live", "Live.");
  });
  source.addEventListener("broken", (event) => {
    lost(JSON.parse(event.data).why);
  });
  source.addEventListener("over", () => {
    over = "Your session is over: log in again.";
    source.close();
    lost(over);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      over = over || "This page is no longer live.";
      lost(over);
    }
  });
  addEventListener("pagehide", () => source.close());
}

function lost(why) {
  const at = new Date(heard + skew).toISOString().slice(11, 19);
  show("lost", `Not live. ${why} What is shown is of ${at} UTC.`);
}

const stream = document.querySelector("[data-stream]");
if (stream) {
  follow(stream.dataset.stream);
  setInterval(() => {
    if (!over && Date.now() - heard > SILENCE) lost("The server is not heard.");
  }, 1000);
}
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
setInterval(tick, 1000);
tick();
