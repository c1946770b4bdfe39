"use strict";
/* Keeps the page as it is on the server: asks for it again when something happened and every few seconds, and swaps
   only the parts that have changed. Without it every page reads and works the same. */
(() => {
  const POLL = 2000, SOON = 200, LONGEST = 8000;
  const body = document.body, live = document.getElementById("live");
  let stamp = body.dataset.stamp, last = partsOf(document), timer = 0, asking = false, again = false;

  function partsOf(root) {
    return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.id, part.innerHTML]));
  }

  function later(delay) {
    clearTimeout(timer);
    timer = setTimeout(look, delay);
  }

  async function look() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.pathname + location.search,
        { headers: { "X-Fragment": "1" }, cache: "no-store", signal: AbortSignal.timeout(LONGEST) });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) { throw new Error(answer.statusText); }
      const text = await answer.text();
      stamp = answer.headers.get("X-Stamp") || stamp;
      swap(new DOMParser().parseFromString(text, "text/html"));
      say("Live · figures of " + stamp, false);
    } catch {
      say("Connection lost, figures of " + stamp, true);
    }
    asking = false;
    later(again ? SOON : POLL);
    again = false;
  }

  function say(words, isLost) {
    body.classList.toggle("lost", isLost);
    /* A screen reader hears of the connection, not of every second. */
    live.setAttribute("aria-live", body.dataset.lost === String(isLost) ? "off" : "polite");
    body.dataset.lost = String(isLost);
    live.textContent = words;
  }

  function swap(fresh) {
    const parts = partsOf(fresh);
    if ([...parts.keys()].join() !== [...last.keys()].join()) {
      keeping(document.getElementById("content"), fresh.body);
    } else {
      for (const [id, html] of parts) {
        if (html !== last.get(id)) { keeping(document.getElementById(id), fresh.getElementById(id)); }
      }
    }
    last = parts;
  }

  function keeping(part, fresh) {
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = part.scrollLeft, top = scrollY;
    const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) { document.getElementById(id)?.setAttribute("open", ""); }
    part.scrollLeft = scrolled;
    if (focused) { document.getElementById(focused)?.focus({ preventScroll: true }); }
    scrollTo({ top, behavior: "instant" });
  }

  const events = new EventSource(body.dataset.live);
  for (const name of body.dataset.events.split(" ")) { events.addEventListener(name, () => later(SOON)); }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { later(0); } });
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (shown) => { if (shown.persisted) { location.reload(); } });
  later(POLL);
})();
