// One project, open: its state as the server tells it, the frame shown, and what is drawn on it.
import { ask, pack, unpack } from './api.js';

export class Editor extends EventTarget {
  constructor(view, frames, tell) {
    super(); this.view = view; this.frames = frames; this.tell = tell; this.frame = 0; this.tool = 'brush'; this.object = 1; this.point = null;
    this.queue = Promise.resolve(); this.waiting = 0; this.changes = 0; this.cache = new Map(); this.asked = new Map();
  }

  get base() { return `/projects/${this.project.id}`; }

  async open(id) {
    const project = await ask('GET', `/projects/${id}`);
    this.project = project; this.etag = project.etag; this.cache.clear(); this.frame = 0; this.key = null; this.scribble = null; this.view.scribble = null;
    this.object = project.objects[0]?.id ?? null; this.point = project.points[0]?.name ?? null;
    this.view.open(project.clip.width, project.clip.height); this.view.setColours(project);
    this.frames.open(project); this.changed();
    await Promise.all([this.frames.show(0, true), this.load()]);
    clearTimeout(this.timer); this.poll(id);
  }

  close() { clearTimeout(this.timer); this.project = null; this.frames.pause(); }
  changed() { this.dispatchEvent(new Event('project')); }

  async poll(id) {
    if (this.project?.id !== id) return;
    const { changes } = this;
    try {
      const told = await ask('GET', this.base, undefined, { 'if-none-match': this.etag || '' });
      if (told && this.project?.id === id && !this.waiting && changes === this.changes) await this.apply(told);
      if (this.lost) { this.lost = false; this.tell('Connected again.'); }
    } catch (error) {
      if (!this.lost) this.tell(error.message);
      this.lost = true;
    }
    const busy = this.project?.tasks.some((t) => t.status === 'running' || t.status === 'waiting');
    this.timer = setTimeout(() => this.poll(id), busy ? 400 : 1200);
  }

  async apply(told) {
    this.project = told; this.etag = told.etag || this.etag;
    if (!told.objects.some((o) => o.id === this.object)) this.object = told.objects[0]?.id ?? null;
    if (!told.points.some((p) => p.name === this.point)) this.point = told.points[0]?.name ?? null;
    this.view.setColours(told); this.view.paint(); this.frames.refresh(told); this.changed();
    if (!this.drawing && this.keyOf(this.frame) !== this.key) await this.load();
  }

  // What the labels of a frame depend on, as far as the state tells.
  keyOf(frame) {
    const p = this.project, ids = p.objects.map((o) => o.id).join();
    return `${p.annotated[frame] || 'none'}|${p.tracked[frame] || 'none'}|${ids}|${p.points.map((q) => q.name)}|${p.settings.model}`;
  }

  known(frame) { const known = this.cache.get(frame); return known?.key === this.keyOf(frame) ? known : null; }

  async get(frame) {
    const key = this.keyOf(frame), known = this.known(frame), asked = this.asked.get(`${frame} ${key}`);
    if (known || asked) return known || asked;
    const coming = (async () => {
      const p = this.project, nothing = p.annotated[frame] === undefined && p.tracked[frame] === undefined;
      const told = nothing ? { version: 'none', source: 'none', labels: null, points: {}, drawn: [] } : await ask('GET', `${this.base}/frames/${frame}`);
      return { ...told, key, labels: await unpack(told.labels, this.project.clip.width * this.project.clip.height) };
    })();
    this.asked.set(`${frame} ${key}`, coming);
    const found = await coming.finally(() => this.asked.delete(`${frame} ${key}`));
    this.cache.set(frame, found);
    if (this.cache.size > 200) this.cache.delete(this.cache.keys().next().value);
    return found;
  }

  // What was asked for before a change, or during one, must not lie over it: the end of a change loads again.
  async load(whatever = false) {
    const frame = this.frame, { changes } = this, found = await this.get(frame).catch(() => null);
    if (!found || frame !== this.frame || this.drawing) return;
    if (!whatever && (this.waiting || changes !== this.changes)) return;
    this.keep(frame, found.labels, found.points);
    this.key = found.key; this.version = found.version; this.source = found.source; this.drawnPoints = found.drawn;
    this.view.points = structuredClone(found.points); this.view.chosenPoint = this.point; this.view.paint(found.labels.slice());
    this.dispatchEvent(new Event('frame'));
  }

  async go(frame) {
    frame = Math.max(0, Math.min(this.project.clip.length - 1, Math.round(frame)));
    if (this.playing) this.pause();
    if (frame !== this.frame) { this.scribble = null; this.view.scribble = null; this.view.path = []; }
    this.frame = frame; this.dispatchEvent(new Event('frame'));
    await this.queue.catch(() => {});
    await Promise.all([this.frames.show(frame), this.load()]);
  }

  play() {
    if (this.playing) return this.pause();
    this.playing = true; this.dispatchEvent(new Event('frame'));
    this.frames.play((frame) => {
      this.frame = frame;
      for (let ahead = 1; ahead < 12; ahead++) if (frame + ahead < this.project.clip.length) this.get(frame + ahead).catch(() => {});
      this.dispatchEvent(new Event('frame'));
      // A picture is shown with its own labels or not at all: what has been shown stays until they are there.
      const there = Boolean(this.known(frame)), loaded = this.load();
      if (there) return null;
      this.view.held = true;
      return loaded.finally(() => {
        this.view.held = false;
        if (frame === this.frame && this.key !== this.keyOf(frame)) { this.view.points = {}; this.view.paint(new Uint8Array(this.view.labels.length)); } else this.view.draw();
      });
    }, () => this.pause());
  }

  pause() { this.playing = this.view.held = false; this.frames.pause(); this.go(this.frame); }

  // Changes go to the server one after the other, each on top of what the one before it left.
  change(work) {
    this.waiting++; this.changes++; this.dispatchEvent(new Event('saving'));
    this.queue = this.queue.then(work).then(() => { this.unsaved = false; }, async (error) => {
      this.unsaved = true;
      this.tell(error.status === 412 ? 'This frame was changed in another tab: here is what is there now.' : error.message);
      const { kept } = this;
      this.key = null; this.cache.clear();
      // What could not be saved must not look as if it were.
      if (kept?.frame === this.frame) { this.view.points = structuredClone(kept.points); this.view.paint(kept.labels.slice()); }
      await this.load(true);
    }).finally(async () => {
      this.waiting--;
      if (!this.waiting) {
        this.dispatchEvent(new Event('saving'));
        const told = await ask('GET', this.base).catch(() => null);
        if (told && this.project?.id === told.id && !this.waiting) await this.apply(told);
      }
    });
    return this.queue;
  }

  commit() {
    const frame = this.frame, labels = this.view.labels.slice();
    return this.change(async () => {
      const told = await ask('PUT', `${this.base}/frames/${frame}/labels`, { labels: await pack(labels), version: this.versionOf(frame) });
      this.note(frame, told.version); this.keep(frame, labels);
    });
  }

  place(places) {
    const frame = this.frame;
    return this.change(async () => {
      const told = await ask('PUT', `${this.base}/frames/${frame}/points`, { places, version: this.versionOf(frame) });
      this.note(frame, told.version); this.keep(frame, undefined, Object.fromEntries(Object.entries({ ...this.kept?.points, ...places }).filter(([, p]) => p)));
    });
  }

  // What the server has of the frame shown.
  keep(frame, labels = this.kept?.labels, points = this.kept?.points) { if (frame === this.frame) this.kept = { frame, labels, points }; }

  // Takes away what was drawn: the frame's all, or a point's place. What was tracked shows instead, and may look the same.
  async forget(point = null) {
    const { frame } = this, gone = () => this.project.tracked[frame] !== undefined && this.tell('Your mark is gone; shown is what was tracked.');
    if (point === null) { if (await this.act('DELETE', `/frames/${frame}`)) gone(); } else { await this.place({ [point]: null }); if (!this.unsaved) gone(); }
    this.key = null; await this.load();
  }

  versionOf(frame) { return this.project.annotated[frame] || 'none'; }
  note(frame, version) {
    if (version === 'none') delete this.project.annotated[frame]; else this.project.annotated[frame] = version;
    this.cache.delete(frame); this.version = version;
  }

  // Any other action whose answer is the project's new state; `then` belongs to it: it runs before the next change.
  act(method, path, body, then) {
    let told = null;
    return this.change(async () => { told = await ask(method, `${this.base}${path}`, body); if (told && told.id === this.project?.id) this.project = told; then?.(told); }).then(() => told);
  }

  async step(what) {
    const before = this.project.annotated;
    const told = await this.act('POST', `/${what}`, {});
    if (!told) return;
    const changed = [...new Set([...Object.keys(before), ...Object.keys(told.annotated)])].filter((f) => before[f] !== told.annotated[f]);
    this.cache.clear(); this.key = null; this.scribble = null; this.view.scribble = null;
    if (changed.length && !changed.includes(String(this.frame))) await this.go(Number(changed[0])); else await this.load();
  }
}
