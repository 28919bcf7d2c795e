// Label images are arrays of whole numbers, and so is everything drawn into them: a pixel belongs
// to a shape if its centre does. Each shape tells whether it changed anything.

// `only`: the one value that may be painted over, if not all may.
export function stroke(labels, width, height, x0, y0, x1, y1, radius, value, only = null) {
  const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius)), right = Math.min(width - 1, Math.ceil(Math.max(x0, x1) + radius));
  const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius)), bottom = Math.min(height - 1, Math.ceil(Math.max(y0, y1) + radius));
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, reach = Math.max(radius, 0.5) ** 2;
  let changed = false;
  const set = (at) => { if (labels[at] !== value && (only === null || labels[at] === only)) { labels[at] = value; changed = true; } };
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) {
    const px = x + 0.5 - x0, py = y + 0.5 - y0;
    const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
    if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= reach) set(y * width + x);
  }
  const x = Math.floor(x1), y = Math.floor(y1);  // even the smallest brush paints where it is
  if (x >= 0 && y >= 0 && x < width && y < height) set(y * width + x);
  return changed;
}

export function polygon(labels, width, height, corners, value) {
  let changed = false;
  for (let y = 0; y < height; y++) {
    const crossings = [];
    corners.forEach(([x0, y0], i) => {
      const [x1, y1] = corners[(i + 1) % corners.length];
      if ((y0 <= y + 0.5) !== (y1 <= y + 0.5)) crossings.push(x0 + (y + 0.5 - y0) * (x1 - x0) / (y1 - y0));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i] - 0.5)), to = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      for (let x = from; x < to; x++) if (labels[y * width + x] !== value) { labels[y * width + x] = value; changed = true; }
    }
  }
  return changed;
}

export function fill(labels, width, height, x, y, value) {
  if (x < 0 || y < 0 || x >= width || y >= height) return false;
  const old = labels[y * width + x];
  if (old === value) return false;
  const waiting = [y * width + x];
  labels[waiting[0]] = value;
  while (waiting.length) {
    const at = waiting.pop(), column = at % width;
    const take = (next) => { if (labels[next] === old) { labels[next] = value; waiting.push(next); } };
    if (column > 0) take(at - 1);
    if (column < width - 1) take(at + 1);
    if (at >= width) take(at - width);
    if (at < labels.length - width) take(at + width);
  }
  return true;
}

// The colours of a label image as RGBA: tinted inside, opaque along the edge.
export function tint(labels, width, height, colours, opacity, out) {
  const inside = Math.round(255 * opacity);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
    const id = labels[at], colour = id ? colours[id] : 0;
    if (!colour) { out[at] = 0; continue; }
    const edge = (x > 0 && labels[at - 1] !== id) || (x < width - 1 && labels[at + 1] !== id)
      || (y > 0 && labels[at - width] !== id) || (y < height - 1 && labels[at + width] !== id);
    out[at] = (colour | ((opacity && edge ? Math.max(inside, 235) : inside) << 24)) >>> 0;
  }
}

export const abgr = (hex) => {
  const n = parseInt(hex.slice(1), 16);
  return ((n & 255) << 16) | (n & 0xff00) | (n >> 16) | 0x1000000;
};
