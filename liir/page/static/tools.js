// Pointers and the tools that they move: mouse, touch, pen, and a cursor for the keyboard.
import { ask, pack, unpack } from './api.js';
import { fill, polygon, stroke } from './raster.js';

export function addTools(editor, view, options) {
  const canvas = view.canvas, touches = new Map();
  let hinted = false, touched = false, only = null, last = null, panning = false, moved = null, pen = false, base = null;

  const value = () => (editor.tool === 'erase' ? 0 : editor.object);
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < view.width && y < view.height;
  const near = ([x, y]) => Object.entries(view.points).filter(([n]) => !view.hidden.has(n))
    .map(([n, p]) => [n, Math.hypot(p.x - x, p.y - y) * view.scale]).sort((a, b) => a[1] - b[1]).find(([, d]) => d < 14)?.[0];

  // Whether there is something to draw, and it would be seen; says so if not.
  function ready(list, chosen) {
    const each = editor.project[list].find((one) => (list === 'objects' ? one.id : one.name) === chosen);
    if (!each) editor.tell(list === 'objects' ? 'Add an object first.' : 'Add a keypoint first.');
    else if (each.hidden) editor.tell(`“${each.name}” is hidden: show it first, with the eye beside its name.`);
    return each && !each.hidden;
  }

  function begin(at, negative, all) {
    if (editor.playing) editor.pause();
    if (editor.tool !== 'point' && !ready('objects', editor.object)) return;
    editor.drawing = true; last = at; touched = false; only = editor.tool === 'erase' && !all ? editor.object : null;
    if (editor.tool === 'smart') {
      if (!editor.scribble) { editor.scribble = new Uint8Array(view.labels.length); base = view.labels.slice(); }
      view.scribble = editor.scribble; editor.negative = negative || options.negative();
    }
    if (editor.tool === 'point') {
      const hit = near(at);
      if (!hit && !ready('points', editor.point)) { editor.drawing = false; return; }
      if (hit) { editor.point = hit; moved = hit; }
      else if (inside(at)) { moved = editor.point; view.points[moved] = { x: at[0], y: at[1], visible: true, confidence: 1 }; }
      view.chosenPoint = editor.point; editor.changed(); view.draw();
      return;
    }
    move(at);
  }

  function move(at) {
    if (!editor.drawing || !last) return;
    if (moved) {
      view.points[moved] = { ...view.points[moved], x: Math.min(view.width, Math.max(0, at[0])), y: Math.min(view.height, Math.max(0, at[1])) };
      return view.draw();
    }
    const target = editor.tool === 'smart' ? editor.scribble : view.labels;
    const radius = editor.tool === 'smart' ? Math.max(1, Math.min(view.radius, 4)) : view.radius;
    touched = stroke(target, view.width, view.height, ...last, ...at, radius, editor.tool === 'smart' && editor.negative ? 255 : value(), only) || touched;
    last = at; view.paint();
  }

  async function end() {
    if (!editor.drawing) return;
    editor.drawing = false; last = null;
    if (moved) {
      const name = moved, { x, y, visible } = view.points[name];
      moved = null;
      await editor.place({ [name]: { x, y, visible } });
      const next = editor.project.points.find((p) => !view.points[p.name]);
      if (next && !options.stay) { editor.point = next.name; view.chosenPoint = next.name; editor.changed(); }
    } else if (!touched) {  // beside the picture, or as it was: no annotation
      if (only !== null && view.labels.some((v) => v && v !== only)) editor.tell('Only the chosen object is erased; hold Shift to erase all.');
    }
    else if (editor.tool === 'smart') await grow();
    else await editor.commit();
  }

  async function grow() {
    const frame = editor.frame, strokes = editor.scribble;
    if (!strokes || !base) return;
    editor.doing = 'Growing…';
    await editor.change(async () => {
      // What other objects have is theirs: to the strokes it is background.
      const labels = base.slice(), ids = new Set(strokes), others = strokes.map((s, i) => s || (labels[i] && !ids.has(labels[i]) ? 255 : 0));
      const told = await ask('POST', `${editor.base}/frames/${frame}/grow`, { strokes: await pack(others), reach: options.reach() });
      const grown = await unpack(told.labels, strokes.length);
      for (let i = 0; i < labels.length; i++) {
        if (grown[i]) labels[i] = grown[i];
        else if (strokes[i] === 255 && ids.has(labels[i])) labels[i] = 0;
      }
      const saved = await ask('PUT', `${editor.base}/frames/${frame}/labels`, { labels: await pack(labels), version: editor.versionOf(frame) });
      editor.note(frame, saved.version);
      editor.keep(frame, labels);
      if (frame === editor.frame) { view.paint(labels); editor.key = null; }
      if (!hinted) { hinted = true; editor.tell('Too far? Alt-scribble there, or lower Reach.'); }
    });
    editor.doing = null;
  }

  function close() {
    if (view.path.length < 3) return;
    const changed = polygon(view.labels, view.width, view.height, view.path, value());
    view.path = []; view.paint();
    if (changed) editor.commit();
  }

  function click(at) {
    if (!ready('objects', editor.object)) return;
    if (editor.tool === 'fill') { if (fill(view.labels, view.width, view.height, Math.floor(at[0]), Math.floor(at[1]), value())) { view.paint(); editor.commit(); } return; }
    const [first] = view.path;
    if (first && view.path.length > 2 && Math.hypot(first[0] - at[0], first[1] - at[1]) * view.scale < 10) return close();
    view.path.push(at); view.draw();
  }

  const clicks = () => editor.tool === 'polygon' || editor.tool === 'fill';
  canvas.addEventListener('pointerdown', (event) => {
    canvas.focus({ preventScroll: true }); event.preventDefault(); canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === 'pen') pen = true;
    touches.set(event.pointerId, [event.clientX, event.clientY]);
    if (touches.size > 1) { if (editor.drawing) { editor.drawing = false; moved = null; editor.key = null; editor.load(); } panning = true; return; }
    panning = editor.tool === 'pan' || options.space() || event.button === 1 || (pen && event.pointerType === 'touch');
    canvas.classList.toggle('panning', panning);
    if (panning || event.button > 1) return;
    if (clicks()) click(view.at(event)); else begin(view.at(event), event.altKey || event.button === 2, event.shiftKey);
  });
  canvas.addEventListener('pointermove', (event) => {
    const before = touches.get(event.pointerId);
    view.cursor = view.at(event);
    if (before && panning) {
      const others = [...touches].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      if (others.length) {
        const [ox, oy] = others[0], d0 = Math.hypot(before[0] - ox, before[1] - oy), d1 = Math.hypot(event.clientX - ox, event.clientY - oy), box = canvas.getBoundingClientRect();
        view.zoom(d1 / (d0 || 1), (event.clientX + ox) / 2 - box.left, (event.clientY + oy) / 2 - box.top);
        view.pan((event.clientX - before[0]) / 2, (event.clientY - before[1]) / 2);
      } else view.pan(event.clientX - before[0], event.clientY - before[1]);
      touches.set(event.pointerId, [event.clientX, event.clientY]);
    } else if (before && editor.drawing) for (const each of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) move(view.at(each));
    else view.draw();
  });
  const up = (event) => { touches.delete(event.pointerId); if (!touches.size) { panning = false; canvas.classList.remove('panning'); end(); } };
  canvas.addEventListener('pointerup', up); canvas.addEventListener('pointercancel', up);
  canvas.addEventListener('pointerleave', () => { if (!touches.size && !view.keyboard) { view.cursor = null; view.draw(); } });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
  canvas.addEventListener('dblclick', () => { if (editor.tool === 'polygon') close(); });
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    view.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  return {
    grow, close,
    cancel() { view.path = []; editor.scribble = null; view.scribble = null; view.paint(); },
    nudge(dx, dy) {
      view.cursor ??= [view.width / 2, view.height / 2];
      view.cursor = [Math.min(view.width - 0.5, Math.max(0.5, view.cursor[0] + dx)), Math.min(view.height - 0.5, Math.max(0.5, view.cursor[1] + dy))];
      view.draw();
    },
    use(all) { if (!view.cursor) this.nudge(0, 0); if (clicks()) click(view.cursor); else if (editor.tool !== 'pan') { begin(view.cursor, false, all); end(); } },
  };
}
