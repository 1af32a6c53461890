// Submits the spec and shows the server's sentences when it is refused.
const form = document.getElementById("submit");

async function submit(spec) {
  const answer = await fetch("/v1/experiments", {
    method: "POST",
    headers: { "Content-Type": "application/yaml" },
    body: spec,
  });
  const said = await answer.json();
  if (!answer.ok) return said.detail || said.title;
  location.href = `/experiments/${said.id}`;
  return "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("problem");
  problem.textContent = "";
  try {
    problem.textContent = await submit(document.getElementById("spec").value);
  } catch {
    problem.textContent = "The server does not answer; try again in a moment.";
  }
});
