// Small things that the scripts of the pages share.
export function element(name, content = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

function number(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(1)}k` : Number(value.toPrecision(3)).toString();
}

// What a running stage says of itself: losses, rates, and how long it may still take.
export function describe(progress) {
  const parts = [];
  for (const [name, value] of Object.entries(progress)) {
    if (["loss", "accuracy", "l0", "explained_variance"].includes(name)) {
      parts.push(`${name.replace("_", " ")} ${number(value)}`);
    } else if (name.endsWith("_per_second")) {
      parts.push(`${number(value)} ${name.replace("_per_second", "")}/s`);
    }
  }
  if (progress.done > 0 && progress.total && progress.seconds) {
    const left = (progress.seconds * (progress.total - progress.done)) / progress.done;
    parts.push(`${Math.round(left)} s left`);
  }
  return parts.join(" · ");
}
