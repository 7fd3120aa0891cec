// A plot over time (uPlot), in the colours of the page.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { time } from "../format.js";

const HEIGHT = 180;
const dark = window.matchMedia("(prefers-color-scheme: dark)");

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Clock times, with seconds where the ticks are less than a minute apart.
function clocks(ticks) {
  const end = ticks.every((at) => at % 60 === 0) ? 16 : 19;
  return ticks.map((at) => time(at * 1000).slice(11, end));
}

function options(series, format, width) {
  const axis = {
    stroke: colour("--dim"),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1) * 1.1] } },
    axes: [
      { ...axis, space: 70, size: 30, values: (_, ticks) => clocks(ticks) },
      { ...axis, size: 58, values: (_, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...series.map(({ label, tone }) => ({
        label,
        stroke: colour(tone),
        width: 1.5,
        points: { size: 4 },
      })),
    ],
  };
}

/** series: [{ label, tone: "--plot-1" }]; data: [[seconds…], [values…]…]; format(value) -> text. */
export function Plot({ label, series, data, format }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [scheme, set] = useState(dark.matches);
  useEffect(() => {
    const turn = () => set(dark.matches);
    dark.addEventListener("change", turn);
    return () => dark.removeEventListener("change", turn);
  }, []);
  useEffect(() => {
    const frame = box.current;
    const width = () => Math.max(160, Math.floor(frame.clientWidth));
    plot.current = new uPlot(options(series, format, width()), data, frame);
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: width(), height: HEIGHT }));
    sizes.observe(frame);
    return () => {
      sizes.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [scheme, series.length]);
  useEffect(() => plot.current?.setData(data), [data]);
  const last = data[0].length - 1;
  const now = series.map((_, i) => (last >= 0 ? format(data[i + 1][last]) : "–"));
  const values = series.map((one, i) => `${one.label} ${now[i]}`);
  return (
    <figure class="plot">
      <figcaption>
        <span class="plot-title">{label}</span>
        {series.map((one, i) => (
          <span key={one.label} class="plot-key">
            <span class={`swatch ${one.tone.slice(2)}`} aria-hidden="true" />
            {one.label} <b>{now[i]}</b>
          </span>
        ))}
      </figcaption>
      <div ref={box} class="plot-box" role="img" aria-label={`${label}, now: ${values.join(", ")}`} />
    </figure>
  );
}
