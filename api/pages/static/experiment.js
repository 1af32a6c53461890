// Keeps the page of one experiment up to date by its stream of events, and carries out its buttons.
import { describe, element } from "./elements.js";
import { detail } from "./attempts.js";

const AGAIN = 2000; // milliseconds until the next look where there is no stream
const ENDED = ["complete", "failed", "cancelled"];
const LOGGED = ["running", "done", "failed"];

const table = document.getElementById("stages");
const url = `/v1/experiments/${table.dataset.experiment}`;
const rows = new Map([...table.tBodies[0].rows].map((row) => [row.dataset.key, row]));
let source = null;
let timer = null;

function showStage(stage) {
  const row = rows.get(stage.key);
  const state = row.querySelector(".state");
  state.textContent = stage.state;
  state.className = `state ${stage.state}`;
  row.querySelector(".progress").replaceChildren(stage.reason ?? "");
  const figures = row.querySelectorAll(".number");
  figures[0].textContent = stage.seconds?.toFixed(1) ?? "";
  figures[1].textContent = stage.peak_memory_bytes ? Math.round(stage.peak_memory_bytes / 1e6) : "";
  const log = row.querySelector(".log");
  const running = stage.state === "running";
  log.hidden = !LOGGED.includes(stage.state);
  log.href = `${url}/stages/${stage.key}/log${running ? "?follow=true" : ""}`;
  log.textContent = running ? "follow" : "log";
}

function showProgress(progress) {
  for (const [key, one] of Object.entries(progress)) {
    const cell = rows.get(key).querySelector(".progress");
    if (!one.total) {
      cell.replaceChildren(describe(one));
      continue;
    }
    let bar = cell.querySelector("progress");
    if (!bar) {
      bar = element("progress");
      cell.replaceChildren(bar, element("span"));
    }
    bar.max = one.total;
    bar.value = one.done;
    cell.querySelector("span").textContent = describe(one);
  }
}

function showExperiment(experiment) {
  const state = document.getElementById("state");
  state.textContent = experiment.state;
  state.className = `state ${experiment.state}`;
  document.getElementById("whole").value = experiment.counts.done;
  document.getElementById("count").textContent =
    `${experiment.counts.done} of ${experiment.stages} stages done`;
  document.getElementById("cancel").hidden = experiment.state !== "running";
  document.getElementById("retry").hidden = !["failed", "cancelled"].includes(experiment.state);
  const report = document.getElementById("report");
  report.hidden = !experiment.report;
  if (experiment.report) report.href = experiment.report;
}

// A closed stream is asked for again by the browser, so it is closed here when all is said.
function follow(seen) {
  source?.close();
  clearTimeout(timer);
  source = new EventSource(`${url}/events?since=${encodeURIComponent(seen)}`);
  source.addEventListener("stage", (event) => showStage(JSON.parse(event.data)));
  source.addEventListener("progress", (event) => showProgress(JSON.parse(event.data)));
  source.addEventListener("experiment", (event) => {
    const experiment = JSON.parse(event.data);
    showExperiment(experiment);
    table.dataset.seen = event.lastEventId;
    if (ENDED.includes(experiment.state)) source.close();
  });
  source.addEventListener("error", () => {
    // While it connects the browser tries by itself. It gives up on an answer that is no stream,
    // as from a proxy that stands before a server that restarts.
    if (source.readyState === EventSource.CLOSED) look();
  });
}

// Without a stream: ask for everything, now and then.
async function look() {
  clearTimeout(timer);
  try {
    const [experiment, stages] = await Promise.all(
      [url, `${url}/stages`].map(async (one) => (await fetch(one)).json()),
    );
    showExperiment(experiment);
    stages.forEach(showStage);
    showProgress(
      Object.fromEntries(stages.filter((one) => one.progress).map((one) => [one.key, one.progress])),
    );
    if (ENDED.includes(experiment.state)) return;
  } catch {
    // The server may be away for a moment; the next look tells.
  }
  timer = setTimeout(look, AGAIN);
}

for (const verb of ["cancel", "retry"]) {
  document.getElementById(verb).addEventListener("click", async () => {
    const problem = document.getElementById("problem");
    problem.textContent = "";
    try {
      const answer = await fetch(`${url}/${verb}`, { method: "POST" });
      if (!answer.ok) problem.textContent = (await answer.json()).detail;
      else follow(table.dataset.seen);
    } catch {
      problem.textContent = "The server does not answer; try again in a moment.";
    }
  });
}
table.addEventListener("click", (event) => {
  const link = event.target.closest("a.open");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  detail(link, url);
});
if (!ENDED.includes(table.dataset.state)) follow(table.dataset.seen);
