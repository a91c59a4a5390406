
"use strict";
(() => {
  const form = document.getElementById("filter");
  const older = document.getElementById("older");
  const rows = [...document.querySelectorAll(".runs tbody tr")].map((row) => ({
    row, status: row.dataset.status, branch: row.dataset.branch, text: row.textContent.toLowerCase(),
  }));
  const apply = () => {
    const { status, branch, text } = Object.fromEntries(new FormData(form));
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const it of rows) {
      const fits = (!status || it.status === status) && (!branch || it.branch === branch)
        && words.every((word) => it.text.includes(word));
      it.row.hidden = !fits;
      shown += fits;
    }
    const filtered = Boolean(status || branch || words.length);
    if (older && filtered) older.open = true;
    form.querySelector("output").textContent = filtered ? `${shown} of ${rows.length} runs` : "";
  };
  if (rows.length) {
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });
  for (const time of document.querySelectorAll("time")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const [size, unit] = units.find(([size]) => Math.abs(seconds) >= size) || [60, "minute"];
    time.title = words.format(Math.trunc(seconds / size), unit);
    if (time.closest(".hero")) time.textContent += ` (${time.title})`;
    if (time.closest(".card")) time.textContent = `${time.textContent.slice(0, 10)} (${time.title})`;
  }
})();
