"use strict";
// Everything works without this. It filters the list of apps while somebody types, and keeps the page of a request up to date.
(() => {
  const form = document.getElementById("pick");
  if (form) {
    const query = document.getElementById("q");
    const items = [...form.querySelectorAll("ul.apps li")];
    query.addEventListener("input", () => {
      const words = query.value.trim().toLowerCase();
      for (const li of items) li.hidden = !li.textContent.toLowerCase().includes(words) && !li.querySelector("input").checked;
      for (const set of form.querySelectorAll("details.group")) {
        set.hidden = [...set.querySelectorAll("li")].every((li) => li.hidden);
        if (words) set.open = true;
      }
    });
    query.addEventListener("keydown", (e) => { if (e.key === "Enter") e.preventDefault(); });
  }
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const refresh = async () => {
    const answer = await fetch(location.pathname, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (answer.redirected || !answer.ok) return location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!fresh || !fresh.hasAttribute("data-live")) return location.reload();
    if (main.contains(document.activeElement) && document.activeElement !== main) return; // do not pull a button from under somebody
    main.innerHTML = fresh.innerHTML;
  };
  const poll = () => { const timer = setInterval(() => refresh().catch(() => {}), 15000); setTimeout(() => clearInterval(timer), 600000); };
  const events = new EventSource(main.dataset.live);
  events.addEventListener("changed", () => refresh().catch(() => {}));
  events.addEventListener("end", () => events.close());
  events.onerror = () => { if (events.readyState === EventSource.CLOSED) poll(); };
})();
