// Draws the live figures over the still ones, each when it comes into view, and marks tables that
// scroll. Where it does not run, the still figures stay.
(() => {
  "use strict";
  const NARROW = 560;
  const BUTTONS = ["select2d", "lasso2d", "autoScale2d"];
  const BESIDE = { thickness: 10, side: "right" };
  const BELOW = { thickness: 10, side: "bottom", orientation: "h", len: 0.95, x: 0.5, y: -0.02,
    yanchor: "top", tickangle: 0 };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const labels = JSON.parse(document.getElementById("trial-labels").textContent);

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function coloured(value, ink) {
    if (value === "ink") return ink;
    if (Array.isArray(value)) return value.map(one => coloured(one, ink));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, ink)]));
  }

  function axis(own, ink) {
    const line = css("--line");
    return { automargin: true, gridcolor: line, linecolor: line, zeroline: false, ...own };
  }

  function layout(own, ink) {
    const muted = css("--line");
    return {
      ...own,
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 12, t: 30, b: 44 },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", ...own.legend },
      hovermode: "closest",
      hoverlabel: { bgcolor: css("--card"), bordercolor: muted, font: { color: ink }, align: "left" },
      // A finger scrolls the page; zooming with it is left to the buttons.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: axis(own.xaxis, ink),
      yaxis: axis(own.yaxis, ink),
    };
  }

  // Parallel coordinates: axes upright, or on top of each other where there is no width for them.
  function across(columns, isNarrow, ink) {
    const shapes = [], annotations = [];
    const place = (along, height) =>
      isNarrow ? { x: height, y: along } : { x: along, y: height };
    const add = (text, along, height, more) => annotations.push(
      { ...place(along, height), text, showarrow: false, font: { size: 11 }, ...more });
    columns.forEach((column, along) => {
      const [from, to] = [place(along, 0), place(along, 1)];
      shapes.push({ type: "line", x0: from.x, y0: from.y, x1: to.x, y1: to.y,
        line: { color: ink, width: 1 }, opacity: 0.6, layer: "below" });
      const title = `<b>${column.label}</b>`;
      if (isNarrow) add(title, along, 0, { xanchor: "left", yanchor: "bottom", yshift: 3 });
      else add(title.replaceAll(" ", "<br>"), along, 0, { yanchor: "top", yshift: -18 });
      for (const [height, text] of column.marks) {
        if (isNarrow) add(text, along, height, { yanchor: "top", yshift: -2,
          xanchor: height === 0 ? "left" : height >= 1 ? "right" : "center" });
        else if (height === 0) add(text, along, height, { yanchor: "top", yshift: -2 });
        else if (height >= 1) add(text, along, height, { yanchor: "bottom", yshift: 2 });
        else add(text, along, height, { xanchor: "left", xshift: 3 });
      }
    });
    const bare = { showgrid: false, showticklabels: false, showline: false };
    const alongAxis = { ...bare, range: [-0.3, columns.length - 0.7] };
    const highest = Math.max(1, ...columns.flatMap(column => column.marks.map(mark => mark[0])));
    const range = isNarrow ? [-0.02, highest + 0.02] : [-0.32, highest + 0.1];
    const heightAxis = { ...bare, range };
    if (isNarrow) alongAxis.range = [columns.length - 0.6, -0.6];
    return { shapes, annotations, xaxis: isNarrow ? heightAxis : alongAxis,
      yaxis: isNarrow ? alongAxis : heightAxis };
  }

  function compose(figure, width, ink) {
    const isNarrow = width < NARROW;
    const own = { ...figure.layout };
    const data = figure.data.map(trace => {
      const drawn = { ...trace };
      if (trace.customdata) drawn.text = trace.customdata.map(number => labels[number] ?? "");
      if (trace.type === "bar") drawn.textposition = "none";
      if (figure.columns && isNarrow) [drawn.x, drawn.y] = [trace.y, trace.x];
      if (trace.marker?.colorbar) {
        const place = isNarrow ? BELOW : BESIDE, title = trace.marker.colorbar.title;
        const bar = { ...trace.marker.colorbar, ...place, title: { ...title, side: place.side } };
        drawn.marker = { ...trace.marker, colorbar: bar };
      }
      return drawn;
    });
    if (figure.columns) Object.assign(own, across(figure.columns, isNarrow, ink));
    return { data: coloured(data, ink), layout: layout(own, ink) };
  }

  function draw(element) {
    const figure = JSON.parse(element.querySelector("script").textContent);
    const [still, plot] = [element.querySelector(".still"), element.querySelector(".plot")];
    if (!plot.style.height) {
      const least = figure.columns && still.clientWidth < NARROW ? 70 * figure.columns.length + 150 : 280;
      plot.style.height = `${Math.max(least, still.firstElementChild.clientHeight)}px`;
    }
    const ink = css("--ink");
    const { data, layout } = compose(figure, still.clientWidth || plot.clientWidth, ink);
    element.classList.add("drawn");
    return Plotly.react(plot, data, layout,
      { responsive: true, displaylogo: false, modeBarButtonsToRemove: BUTTONS });
  }

  function markScrolled() {
    for (const one of document.querySelectorAll(".wide, .scrolled"))
      one.classList.toggle("overflows", one.scrollWidth > one.clientWidth + 1);
  }

  markScrolled();
  addEventListener("resize", markScrolled);
  for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", markScrolled);
  if (typeof Plotly === "undefined") return;
  const seen = new IntersectionObserver((entries, observer) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "400px" });
  for (const one of document.querySelectorAll("figure.live")) seen.observe(one);
  dark.addEventListener("change", () => document.querySelectorAll(".drawn").forEach(draw));
})();
