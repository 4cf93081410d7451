// The strip above the timeline: how dense events are over the whole run, where faults fell, and what is in sight.

function drawOverview(timeline) {
  const ctx = timeline.overview.getContext("2d");
  const { scale, width, colours } = timeline;
  ctx.clearRect(0, 0, width, 26);
  const bars = density(timeline);
  const most = Math.max(...bars, 1);
  ctx.fillStyle = colours.strong;
  bars.forEach((count, i) => {
    const height = count ? 2 + 18 * Math.sqrt(count / most) : 0;
    ctx.fillRect(i * 4, 24 - height, 3, height);
  });
  ctx.fillStyle = colours.bad;
  for (const i of timeline.faults) ctx.fillRect(scale.base(scale.value(i)) - 1, 0, 2, 26);
  const [from, to] = scale.visible.domain().map((value) => scale.base(value));
  ctx.fillStyle = colours.focus;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(from, 0, to - from, 26);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colours.focus;
  ctx.strokeRect(from + 0.5, 0.5, Math.max(to - from - 1, 2), 25);
}

// Events in each column of four pixels; counted again only when the width or the spacing changes.
function density(timeline) {
  const { scale, width } = timeline;
  const key = `${width} ${scale.byTime}`;
  if (timeline.densityKey === key) return timeline.density;
  const bars = new Array(Math.ceil(width / 4)).fill(0);
  for (let i = 0; i < scale.events.length; i += 1) {
    bars[Math.min(bars.length - 1, Math.max(0, Math.floor(scale.base(scale.value(i)) / 4)))] += 1;
  }
  timeline.densityKey = key;
  timeline.density = bars;
  return bars;
}
