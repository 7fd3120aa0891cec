--- What the pages do more where there is JavaScript: progress live, drinks as soon as a machine is
--- chosen, and no second submit while the first one is on its way. Everything works without it.
return [[
"use strict";

// Progress: the server sends the same HTML that a reload would show.
for (const box of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(box.dataset.live);
  const note = document.createElement("p");
  note.className = "hint";
  source.addEventListener("progress", (event) => {
    note.remove();
    box.innerHTML = event.data; // made and escaped by the server, from this origin
  });
  source.addEventListener("end", () => source.close());
  source.addEventListener("error", () => {
    note.textContent = source.readyState === EventSource.CLOSED
      ? "This page is no longer live. Reload it to see more."
      : "The connection was lost. Trying again…";
    box.append(note);
  });
}

// A choice that shows more of the page: no need for its button.
for (const field of document.querySelectorAll("[data-auto]")) {
  const form = field.form;
  form.classList.add("auto");
  field.addEventListener("change", () => form.requestSubmit());
}

// A form that is being sent is not sent again; coming back to the page makes it usable again.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    if (button && button.dataset.busy) {
      button.dataset.idle = button.textContent;
      button.textContent = button.dataset.busy;
    }
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[data-idle]")) {
      button.textContent = button.dataset.idle;
    }
  }
});

// The first thing that is wrong gets the focus.
const summary = document.querySelector("[data-errors]");
if (summary) summary.focus();
]]
