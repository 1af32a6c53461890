// Shows and hides what is known of one stage, in a row below its own.
import { element } from "./elements.js";

const HEADS = ["Attempt", "Host", "Started", "Ended", "Ending", "Steps", ""];

function attemptRow(attempt, log) {
  const ending = attempt.ending ?? (attempt.running ? "running" : "killed");
  const href = `${log}?attempt=${attempt.attempt}${attempt.running ? "&follow=true" : ""}`;
  const cells = [
    element("code", attempt.attempt.slice(0, 8)),
    attempt.host,
    attempt.started.slice(0, 19).replace("T", " "),
    attempt.ended?.slice(0, 19).replace("T", " ") ?? "–",
    attempt.reason ? `${ending}: ${attempt.reason}` : ending,
    `${attempt.from_step} – ${attempt.reached_step}`,
    ending === "killed" ? "" : element("a", attempt.running ? "follow" : "log", { href }),
  ];
  return element("tr", cells.map((cell) => element("td", cell)));
}

function attemptsTable(attempts, log) {
  const head = element("thead", element("tr", HEADS.map((name) => element("th", name))));
  const body = element("tbody", attempts.map((one) => attemptRow(one, log)));
  return element("table", [head, body]);
}

function content(stage, url) {
  const parts = [];
  if (stage.failure) parts.push(element("p", stage.failure.reason, { className: "reason" }));
  if (stage.attempts.length) parts.push(attemptsTable(stage.attempts, `${url}/log`));
  else parts.push(element("p", "No attempt has started yet.", { className: "quiet" }));
  const words = JSON.stringify(stage.parameters, null, 1);
  const parameters = element("details", [element("summary", "Parameters"), element("pre", words)]);
  const all = element("a", "all details of this stage", { href: url });
  return [...parts, parameters, element("p", all)];
}

export async function detail(link, experiment) {
  const row = link.closest("tr");
  if (row.nextElementSibling?.classList.contains("detail")) {
    row.nextElementSibling.remove();
    link.setAttribute("aria-expanded", "false");
    return;
  }
  const url = `${experiment}/stages/${row.dataset.key}`;
  const cell = element("td", "…", { colSpan: row.cells.length });
  row.after(element("tr", cell, { className: "detail" }));
  link.setAttribute("aria-expanded", "true");
  try {
    const answer = await fetch(url);
    const said = await answer.json();
    if (answer.ok) cell.replaceChildren(...content(said, url));
    else cell.textContent = said.detail;
  } catch {
    cell.textContent = "The server does not answer; try again in a moment.";
  }
}
