// Submits the spec and shows the server's sentences when it is refused.
const form = document.getElementById("submit");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("problem");
  problem.textContent = "";
  const answer = await fetch("/v1/experiments", {
    method: "POST",
    headers: { "Content-Type": "application/yaml" },
    body: document.getElementById("spec").value,
  });
  const said = await answer.json();
  if (answer.ok) location.href = `/experiments/${said.id}`;
  else problem.textContent = said.detail || said.title;
});
