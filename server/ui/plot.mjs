// Small plots, drawn as SVG. What a plot shows is also said in words below it.

import { el, show, svg, write } from "./dom.mjs";
import { SPAN, ceiling } from "./series.mjs";

const WIDTH = 240;
const HEIGHT = 64;
/** Room on the right for the number at the top. */
const ROOM = 34;

/** Makes a plot with a title: `{element, bars(bars, words), line(points, words, now)}`. */
export function plot(title) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", class: "plot" });
  const words = el("span", { class: "faint" });
  const element = el("figure", {}, el("figcaption", {}, el("strong", {}, title), words), drawing);

  const draw = (top, told, ...shapes) => {
    write(words, told);
    show(
      drawing,
      svg("line", { class: "axis", x1: 0, x2: WIDTH - ROOM, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
      svg("line", { class: "grid", x1: 0, x2: WIDTH - ROOM, y1: 8, y2: 8 }),
      svg("text", { x: WIDTH - ROOM + 4, y: 12 }, String(top)),
      svg("text", { x: WIDTH - ROOM + 4, y: HEIGHT - 1 }, "0"),
      ...shapes,
    );
  };
  const height = (value, top) => (value / top) * (HEIGHT - 9);

  function bars(counts, told) {
    const top = ceiling(Math.max(...counts.map((bar) => bar.all)));
    const wide = (WIDTH - ROOM) / counts.length;
    const shapes = counts.flatMap((bar, n) => {
      const all = height(bar.all, top);
      const failed = height(bar.failed, top);
      const box = { x: n * wide + 1, width: wide - 2 };
      return [
        svg("rect", { ...box, class: "bar", y: HEIGHT - 1 - all, height: all }),
        svg("rect", { ...box, class: "bar failed", y: HEIGHT - 1 - failed, height: failed }),
      ];
    });
    draw(top, told, ...shapes);
  }

  function line(points, told, now) {
    const top = ceiling(Math.max(0, ...points.map((point) => point.value)));
    const places = points.map(({ at, value }) => {
      const x = (1 - (now - at) / SPAN) * (WIDTH - ROOM);
      return `${Math.max(0, x).toFixed(1)},${(HEIGHT - 1 - height(value, top)).toFixed(1)}`;
    });
    const [x, y] = places.at(-1)?.split(",") ?? [];
    draw(
      top,
      told,
      svg("polyline", { class: "curve", points: places.join(" ") }),
      // One sample is no line yet.
      x !== undefined && svg("circle", { class: "last", cx: x, cy: y, r: 2.5 }),
    );
  }

  return { element, bars, line };
}
