// What is seen of a frame: picture, labels, points and the tool at work; zoom and pan.
import { abgr, tint } from './raster.js';

export class View {
  constructor(canvas) {
    this.canvas = canvas; this.context = canvas.getContext('2d');
    this.picture = document.createElement('canvas'); this.overlay = document.createElement('canvas');
    this.scale = 1; this.x = this.y = 0; this.opacity = 0.45; this.points = {}; this.colours = []; this.pointColours = {}; this.hidden = new Set();
    this.path = []; this.cursor = null; this.keyboard = false; this.radius = 12; this.chosenPoint = null; this.scribble = null; this.held = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  open(width, height) {
    this.width = width; this.height = height;
    for (const each of [this.picture, this.overlay]) { each.width = width; each.height = height; }
    this.image = new ImageData(width, height); this.pixels = new Uint32Array(this.image.data.buffer);
    this.labels = new Uint8Array(width * height); this.fitted = true; this.resize();
  }

  resize() {
    const ratio = devicePixelRatio || 1, { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio)); this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    if (this.fitted) this.fit(); else this.draw();
  }

  fit() {
    if (!this.width) return;
    const { clientWidth: w, clientHeight: h } = this.canvas, room = Math.min(56, h / 6);
    this.scale = Math.max(0.01, Math.min((w - 16) / this.width, (h - room - 8) / this.height));
    this.x = (w - this.scale * this.width) / 2; this.y = room + (h - room - 8 - this.scale * this.height) / 2; this.fitted = true; this.draw();
  }

  zoom(factor, x, y) {
    const scale = Math.min(80, Math.max(0.05, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale; this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale; this.fitted = false; this.draw();
  }

  pan(dx, dy) { this.x += dx; this.y += dy; this.fitted = false; this.draw(); }
  at(event) { const box = this.canvas.getBoundingClientRect(); return [(event.clientX - box.left - this.x) / this.scale, (event.clientY - box.top - this.y) / this.scale]; }

  show(source) { this.picture.getContext('2d').drawImage(source, 0, 0, this.width, this.height); this.draw(); }

  paint(labels = this.labels) {
    this.labels = labels;
    tint(labels, this.width, this.height, this.colours, this.opacity, this.pixels);
    if (this.scribble) for (let i = 0; i < labels.length; i++) if (this.scribble[i]) this.pixels[i] = this.scribble[i] === 255 ? 0xff202020 : (this.colours[this.scribble[i]] | 0xff000000) >>> 0;
    this.overlay.getContext('2d').putImageData(this.image, 0, 0); this.draw();
  }

  setColours(project) {
    this.colours = []; this.pointColours = {}; this.hidden = new Set();
    for (const each of project.objects) if (!each.hidden) this.colours[each.id] = abgr(each.colour) & 0xffffff | 0x0;
    for (const each of project.objects) if (!each.hidden && this.colours[each.id] === 0) this.colours[each.id] = 1;
    this.colours[255] = 0x808080;
    for (const each of project.points) { this.pointColours[each.name] = each.colour; if (each.hidden) this.hidden.add(each.name); }
  }

  draw() {
    if (this.pending || !this.width) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.render(); });
  }

  render() {
    if (this.held) return;
    const { context: c, scale } = this, ratio = devicePixelRatio || 1;
    c.setTransform(1, 0, 0, 1, 0, 0); c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * this.x, ratio * this.y);
    c.imageSmoothingEnabled = scale < 3; c.drawImage(this.picture, 0, 0);
    c.imageSmoothingEnabled = false; c.drawImage(this.overlay, 0, 0);
    const size = 6 / scale;
    for (const [name, point] of Object.entries(this.points)) {
      if (this.hidden.has(name)) continue;
      c.beginPath(); c.arc(point.x, point.y, size, 0, 7); c.lineWidth = (name === this.chosenPoint ? 3.5 : 2) / scale;
      c.setLineDash(point.visible ? [] : [3 / scale, 3 / scale]);
      if (point.visible) { c.fillStyle = this.pointColours[name] || '#fff'; c.fill(); }
      c.strokeStyle = '#fff'; c.stroke(); c.setLineDash([]);
      c.font = `${12 / scale}px system-ui`; c.lineWidth = 3 / scale; c.strokeStyle = '#000b'; c.strokeText(name, point.x + 9 / scale, point.y + 4 / scale); c.fillStyle = '#fff'; c.fillText(name, point.x + 9 / scale, point.y + 4 / scale);
    }
    if (this.path.length) {
      c.beginPath(); this.path.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
      if (this.cursor) c.lineTo(...this.cursor);
      c.lineWidth = 3 / scale; c.strokeStyle = '#000'; c.stroke(); c.lineWidth = 1.5 / scale; c.strokeStyle = '#fff'; c.stroke();
      for (const [x, y] of this.path) { c.fillStyle = '#fff'; c.fillRect(x - 3 / scale, y - 3 / scale, 6 / scale, 6 / scale); }
    }
    if (this.cursor && (this.ring || this.keyboard)) {
      c.beginPath(); c.arc(...this.cursor, Math.max(this.ring ? this.radius : 4 / scale, 2 / scale), 0, 7);
      c.lineWidth = 3 / scale; c.strokeStyle = '#000a'; c.stroke(); c.lineWidth = 1.3 / scale; c.strokeStyle = '#fff'; c.stroke();
      if (this.keyboard) { c.beginPath(); c.moveTo(this.cursor[0] - 14 / scale, this.cursor[1]); c.lineTo(this.cursor[0] + 14 / scale, this.cursor[1]); c.moveTo(this.cursor[0], this.cursor[1] - 14 / scale); c.lineTo(this.cursor[0], this.cursor[1] + 14 / scale); c.stroke(); }
    }
  }
}
