"use strict";
// Draws the figures and moves them: by epoch, by snapshot, and by the layers that are shown.
(() => {
  const slider = document.getElementById("epoch");
  const names = slider ? JSON.parse(slider.dataset.names) : [];
  const chips = [...document.querySelectorAll(".chip")];
  const chosen = { epoch: names.length - 1, snapshot: 0 };
  const shown = new Set(chips.map((chip) => Number(chip.dataset.layer)));
  // A finger that scrolls the page must not zoom the figures that it passes.
  const isTouched = !matchMedia("(hover: hover)").matches;
  const config = {
    // plotly.js would offer to upload a chart; nothing here leaves the page.
    showSendToCloud: false,
    plotlyServerURL: "",
    displaylogo: false,
    displayModeBar: isTouched ? false : "hover",
    responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    toImageButtonOptions: { format: "svg" },
  };

  const figures = [...document.querySelectorAll("figure.figure")].map((element) => ({
    element,
    plot: element.querySelector(".plot"),
    made: JSON.parse(element.querySelector("script").textContent),
    drawn: false,
  }));

  const layerOf = (trace) => trace.meta && trace.meta.layer;
  const isVisible = (trace) => layerOf(trace) === undefined || shown.has(layerOf(trace));

  // What a trace shows at an epoch: its own points, or all up to it.
  function part(trace, group) {
    const { per, trail } = trace.meta;
    const last = (chosen[group] + 1) * per;
    const cut = (list) => (list ? list.slice(trail ? 0 : last - per, last) : list);
    return { x: cut(trace.x), y: cut(trace.y), hovertext: cut(trace.hovertext) };
  }

  const moving = (made) =>
    made.group ? made.data.flatMap((trace, i) => (trace.meta && trace.meta.per ? [i] : [])) : [];

  function placed(made) {
    const update = {};
    if (made.titles) update["title.text"] = made.titles[chosen[made.group]];
    if (made.marks && made.marks.length) {
      update["shapes[0].x0"] = update["shapes[0].x1"] = made.marks[chosen.epoch];
    }
    return update;
  }

  function draw(figure) {
    const { made } = figure;
    const data = made.data.map((trace) => ({
      ...trace,
      ...(made.group && trace.meta && trace.meta.per ? part(trace, made.group) : {}),
      visible: isVisible(trace),
    }));
    figure.drawn = true;
    const layout = { ...structuredClone(made.layout), dragmode: isTouched ? false : "zoom" };
    Plotly.newPlot(figure.plot, data, layout, config);
    const update = placed(made);
    if (Object.keys(update).length) Plotly.relayout(figure.plot, update);
  }

  function move(group) {
    for (const { made, plot, drawn } of figures) {
      const concerned = made.group === group || (group === "epoch" && made.marks && made.marks.length);
      if (!drawn || !concerned) continue;
      const traces = moving(made);
      const parts = traces.map((i) => part(made.data[i], group));
      const update = {};
      for (const name of parts.length ? ["x", "y", "hovertext"] : []) {
        update[name] = parts.map((piece) => piece[name]);
      }
      if (traces.length) Plotly.update(plot, update, placed(made), traces);
      else Plotly.relayout(plot, placed(made));
    }
  }

  function showLayers() {
    for (const chip of chips) {
      chip.setAttribute("aria-pressed", String(shown.has(Number(chip.dataset.layer))));
    }
    for (const { element, made, plot, drawn } of figures) {
      if (element.dataset.layer !== undefined) {
        element.hidden = !shown.has(Number(element.dataset.layer));
        if (!element.hidden && drawn) Plotly.Plots.resize(plot);
      } else if (drawn) {
        const of = made.data.flatMap((trace, i) => (layerOf(trace) === undefined ? [] : [i]));
        if (of.length) Plotly.restyle(plot, { visible: of.map((i) => isVisible(made.data[i])) }, of);
      }
    }
  }

  let waiting = false;
  function toEpoch(index) {
    chosen.epoch = index;
    slider.value = index;
    slider.setAttribute("aria-valuetext", `epoch ${names[index]}`);
    document.getElementById("epoch-now").textContent = names[index];
    // A slider that is dragged asks more often than a screen is drawn.
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      move("epoch");
    });
  }

  if (slider) {
    const play = document.getElementById("play");
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "▶";
    };
    slider.addEventListener("input", () => {
      stop();
      toEpoch(Number(slider.value));
    });
    play.disabled = names.length < 2;
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (chosen.epoch === names.length - 1) toEpoch(0);
      play.textContent = "❚❚";
      timer = setInterval(() => {
        if (chosen.epoch + 1 < names.length) toEpoch(chosen.epoch + 1);
        if (chosen.epoch + 1 === names.length) stop();
      }, Math.max(60, Math.min(400, 8000 / names.length)));
    });
    slider.setAttribute("aria-valuetext", `epoch ${names[chosen.epoch]}`);
  }

  for (const chip of chips) {
    const layer = Number(chip.dataset.layer);
    chip.addEventListener("click", () => {
      if (!shown.delete(layer)) shown.add(layer);
      showLayers();
    });
    chip.addEventListener("dblclick", () => {
      const alone = shown.size === 1 && shown.has(layer);
      shown.clear();
      for (const other of alone ? chips.map((c) => Number(c.dataset.layer)) : [layer]) shown.add(other);
      showLayers();
    });
  }

  for (const radio of document.querySelectorAll("input[name=snapshot]")) {
    if (radio.checked) chosen.snapshot = Number(radio.value);
    radio.addEventListener("change", () => {
      chosen.snapshot = Number(radio.value);
      move("snapshot");
    });
  }

  // A figure in something folded away has no width yet: it is drawn when that is opened.
  const drawOpen = () => {
    for (const figure of figures) {
      if (!figure.drawn && !figure.element.closest("details:not([open])")) draw(figure);
    }
  };
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", drawOpen);
  }
  drawOpen();

  addEventListener("beforeprint", () => {
    for (const svg of document.querySelectorAll(".plot .main-svg")) {
      const [width, height] = ["width", "height"].map((name) => svg.getAttribute(name));
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.closest(".svg-container").style.aspectRatio = `${width} / ${height}`;
    }
  });
  addEventListener("afterprint", () => {
    for (const svg of document.querySelectorAll(".plot .main-svg")) {
      svg.removeAttribute("viewBox");
      svg.closest(".svg-container").style.aspectRatio = "";
    }
  });
})();
