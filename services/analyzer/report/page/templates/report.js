"use strict";
// Draws every figure whose JSON the page carries; colours of text and grid come from the style sheet.
(() => {
  const config = {
    responsive: true,
    displayModeBar: false, // the same pictures lie beside this file
  };
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const script of document.querySelectorAll("script[data-figure]")) {
    const place = document.getElementById(script.dataset.figure);
    if (!place) continue;
    const figure = JSON.parse(script.textContent);
    if (still) figure.layout.transition = { duration: 0 };
    Plotly.newPlot(place, figure.data, figure.layout, config);
  }
  // A figure inside <details> has no size until it is opened.
  document.addEventListener("toggle", (event) => {
    for (const plot of event.target.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
  }, true);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
