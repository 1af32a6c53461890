// Keeps the page of one experiment up to date, and carries out its two buttons.
const INTERVAL = 1000; // milliseconds between two looks
const table = document.getElementById("stages");
const url = `/v1/experiments/${table.dataset.experiment}`;

function number(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(1)}k` : Number(value.toPrecision(3)).toString();
}

function describe(progress) {
  const parts = [];
  for (const [name, value] of Object.entries(progress)) {
    if (["loss", "accuracy", "l0", "explained_variance"].includes(name)) {
      parts.push(`${name.replace("_", " ")} ${number(value)}`);
    } else if (name.endsWith("_per_second")) {
      parts.push(`${number(value)} ${name.replace("_per_second", "")}/s`);
    }
  }
  if (progress.done > 0 && progress.seconds) {
    parts.push(`${Math.round((progress.seconds * (progress.total - progress.done)) / progress.done)} s left`);
  }
  return parts.join(" · ");
}

function showStage(row, stage) {
  const state = row.querySelector(".state");
  state.textContent = stage.state;
  state.className = `state ${stage.state}`;
  const cell = row.querySelector(".progress");
  cell.replaceChildren();
  if (stage.progress && stage.progress.total) {
    const bar = document.createElement("progress");
    bar.max = stage.progress.total;
    bar.value = stage.progress.done;
    cell.append(bar, describe(stage.progress));
  } else if (stage.reason) {
    cell.textContent = stage.reason;
  }
  const cells = row.querySelectorAll(".number");
  if (stage.seconds !== null) cells[0].textContent = stage.seconds.toFixed(1);
  if (stage.peak_memory_bytes) cells[1].textContent = Math.round(stage.peak_memory_bytes / 1e6);
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

async function look() {
  try {
    const [experiment, stages] = await Promise.all(
      [url, `${url}/stages`].map(async (one) => (await fetch(one)).json()),
    );
    showExperiment(experiment);
    for (const stage of stages) {
      showStage(table.querySelector(`[data-key="${stage.key}"]`), stage);
    }
  } catch {
    // The server may be away for a moment; the next look tells.
  }
  setTimeout(look, INTERVAL);
}

for (const verb of ["cancel", "retry"]) {
  document.getElementById(verb).addEventListener("click", () => fetch(`${url}/${verb}`, { method: "POST" }));
}
look();
