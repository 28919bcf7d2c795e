// The side: objects, keypoints, runs, adapting, exports; and the timeline below.
import { ask, unpack } from './api.js';
import { abgr, tint } from './raster.js';

export const $ = (id) => document.getElementById(id);
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node && name !== 'list') node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`); svg.append(use);
  return svg;
}

export function addLists(editor, view, question) {
  const opened = new Set();
  function row(kind, each, chosen) {
    const name = each.name, isObject = kind === 'objects', key = isObject ? each.id : name;
    const path = isObject ? `/objects/${each.id}` : '/points';
    const send = (told) => editor.act('PATCH', path, isObject ? told : { name, ...told });
    const radio = make('input', { type: 'radio', name: kind, checked: chosen, title: `Choose ${name}`, 'aria-label': `Choose ${name}` });
    radio.onchange = () => { if (isObject) editor.object = each.id; else { editor.point = name; view.chosenPoint = name; } if (!isObject) editor.setTool('point'); else if (editor.tool === 'point') editor.setTool('brush'); editor.changed(); view.draw(); };
    const colour = make('input', { type: 'color', value: each.colour, title: 'Colour', 'aria-label': `Colour of ${name}` });
    colour.onchange = () => send({ colour: colour.value });
    const text = make('input', { type: 'text', value: name, maxLength: 100, 'aria-label': `Name of ${name}`, autocomplete: 'off', spellcheck: false });
    text.onchange = () => { const said = text.value.trim(); if (said && said !== name) send(isObject ? { name: said } : { rename: said }); else text.value = name; };
    text.onkeydown = (event) => { if (event.key === 'Enter') text.blur(); };
    const eye = make('button', { className: 'icon', title: each.hidden ? 'Show' : 'Hide', 'aria-label': `Hide ${name}`, 'aria-pressed': each.hidden }, icon(each.hidden ? 'hidden' : 'eye'));
    eye.onclick = () => send({ hidden: !each.hidden });
    const more = make('button', { className: 'icon', title: 'Delete or merge', 'aria-label': `More for ${name}`, 'aria-expanded': opened.has(key) }, icon('more'));
    more.onclick = () => { if (!opened.delete(key)) opened.add(key); draw(); };
    const item = make('li', { className: chosen ? 'chosen' : '' }, make('div', { className: 'row' }, radio, colour, text, eye, more));
    if (opened.has(key)) {
      const remove = make('button', { className: 'small' }, 'Delete');
      remove.onclick = () => { opened.delete(key); editor.act('DELETE', isObject ? path : `/points?name=${encodeURIComponent(name)}`); };
      const extra = make('div', { className: 'row more' }, remove);
      const others = isObject ? editor.project.objects.filter((o) => o.id !== each.id) : [];
      if (others.length) {
        const into = make('select', { 'aria-label': `Merge ${name} into` }, make('option', { value: '' }, 'Merge into…'), ...others.map((o) => make('option', { value: o.id }, o.name)));
        into.onchange = () => { opened.delete(key); editor.object = Number(into.value); editor.act('POST', `${path}/merge`, { into: Number(into.value) }); };
        extra.append(into);
      }
      item.append(extra);
    }
    return item;
  }
  function draw() {
    const { project } = editor;
    if (!project) return;
    if (document.activeElement?.type === 'text' && document.activeElement.closest('.list')) return;
    const focus = document.activeElement?.closest?.('.list') ? document.activeElement.getAttribute('aria-label') : null;
    $('objects').replaceChildren(...project.objects.map((o) => row('objects', o, o.id === editor.object)));
    $('points').replaceChildren(...project.points.map((p) => row('points', p, p.name === editor.point && editor.tool === 'point')));
    if (!project.points.length) $('points').append(make('li', { className: 'quiet' }, 'None. Add one to follow a joint or a corner.'));
    if (focus) document.querySelector(`.list [aria-label="${CSS.escape(focus)}"]`)?.focus();
  }
  let seen = '';
  editor.addEventListener('project', () => {
    const p = editor.project, key = p && JSON.stringify([p.id, p.objects, p.points, editor.object, editor.point, editor.tool]);
    if (key !== seen) { seen = key; draw(); }
  });
  const add = () => editor.act('POST', '/objects', {}, (told) => { editor.object = told.added; if (editor.tool === 'point') editor.setTool('brush'); });
  $('add-object').onclick = add;
  $('add-point').onclick = async () => {
    const name = await question('Name of the keypoint', `point ${editor.project.points.length + 1}`);
    if (name) editor.act('POST', '/points', { name }, () => { editor.point = name; editor.setTool('point'); });
  };
  return { add };
}

const seconds = (s) => (s > 90 ? `${Math.round(s / 60)} min` : `${Math.ceil(s)} s`);

export function addRuns(editor, server) {
  const selects = ['model', 'size', 'radius', 'references'];
  const mode = $('mode');
  const go = (path, body) => ask('POST', `${editor.base}${path}`, body).then(() => refresh(), (error) => editor.tell(error.message));
  const refresh = async () => { const told = await ask('GET', editor.base); await editor.apply(told); };
  const start = async () => {
    await editor.queue;
    const first = mode.value === 'range' ? Number($('range-first').value) : editor.frame;
    await go('/propagate', { mode: mode.value, frame: mode.value === 'whole' ? 0 : first, last: mode.value === 'range' ? Number($('range-last').value) : null });
  };
  mode.onchange = () => { $('range').hidden = mode.value !== 'range'; $('range-first').value = editor.frame; $('range-last').value = editor.project.clip.length - 1; };
  $('propagate').onclick = start;
  $('resume').onclick = () => go('/resume', {});
  $('settle').onclick = () => go('/settle', {});
  $('cancel').onclick = () => { const task = running(); if (task) ask('DELETE', `/tasks/${task.id}`).catch((error) => editor.tell(error.message)); };
  $('adapt').onclick = () => go('/adapt', { minutes: Number($('minutes').value) });
  for (const name of selects) $(name).onchange = () => {
    const settings = Object.fromEntries(selects.map((s) => [s, $(s).value === '' ? null : s === 'model' ? $(s).value : Number($(s).value)]));
    editor.act('PATCH', '', { settings });
  };
  const running = () => editor.project.tasks.find((t) => t.status === 'running' || t.status === 'waiting' && t.kind !== 'proxy');

  let before = '';
  editor.addEventListener('project', () => {
    const p = editor.project;
    if (!p) return;
    const task = p.tasks.filter((t) => t.kind !== 'proxy').find((t) => t.status === 'running' || t.status === 'waiting');
    const ended = p.tasks.filter((t) => t.kind !== 'proxy' && t.status !== 'running' && t.status !== 'waiting').at(-1);
    $('task').hidden = !task;
    $('propagate').disabled = $('adapt').disabled = Boolean(task);
    if (task) {
      const bar = $('task-bar'), words = [task.status === 'waiting' ? 'waiting for its turn' : task.note];
      if (task.total) bar.value = task.done / task.total; else bar.removeAttribute('value');
      if (task.rate && task.unit !== 'seconds') words.push(`${task.rate.toFixed(1)} frames/s`);
      if (task.remaining !== null) words.push(`${seconds(task.remaining)} left`);
      $('task-note').textContent = words.filter(Boolean).join(' · ');
    }
    $('failed').hidden = ended?.status !== 'failed' || Boolean(task);
    $('failed').textContent = ended?.error || '';
    $('interrupted').hidden = !p.interrupted;
    if (p.interrupted) $('interrupted').firstElementChild.textContent = `A run stopped at frame ${p.interrupted.frame} of ${p.interrupted.end - 1}.`;
    $('stale').hidden = p.stale === null || Boolean(task);
    $('stale').textContent = `Changed from frame ${p.stale} on: propagate again.`;
    const curve = task?.curve || ended?.curve;
    $('curve').toggleAttribute('hidden', !curve || curve.length < 2);
    if (curve?.length > 1) {
      const low = Math.min(...curve), high = Math.max(...curve, low + 1e-9);
      $('curve').firstElementChild.setAttribute('points', curve.map((v, i) => `${200 * i / (curve.length - 1)},${56 - 52 * (v - low) / (high - low)}`).join(' '));
    }
    $('choice').hidden = !p.choice;
    const models = [['', `${server.model} (default)`], ...server.models.map((m) => [m, m]), ...(p.adapted ? [['adapted', 'adapted to this video']] : [])];
    const key = JSON.stringify(models);
    if (key !== before) { before = key; $('model').replaceChildren(...models.map(([v, t]) => make('option', { value: v }, t))); }
    for (const name of selects) if (document.activeElement !== $(name)) $(name).value = p.settings[name] ?? '';
    if (document.activeElement !== $('project-name')) $('project-name').value = p.name;
  });
  return { start, refresh };
}

export function addComparison(editor, refresh) {
  const dialog = $('comparison'), slider = $('compare-frame');
  async function show() {
    const frame = Number(slider.value), { clip, comparable } = editor.project;
    $('compare-out').textContent = frame;
    $('compare-note').hidden = comparable;
    const answer = await fetch(`/api${editor.base}/frames/${frame}/picture`), picture = await createImageBitmap(await answer.blob());
    const both = comparable ? await ask('GET', `${editor.base}/adapt/${frame}`) : { before: null, after: null };
    for (const which of ['before', 'after']) {
      const canvas = $(which), context = canvas.getContext('2d'), image = new ImageData(clip.width, clip.height);
      canvas.width = clip.width; canvas.height = clip.height; context.drawImage(picture, 0, 0);
      const colours = [];
      for (const o of editor.project.objects) colours[o.id] = abgr(o.colour) & 0xffffff || 1;
      tint(await unpack(both[which], clip.width * clip.height), clip.width, clip.height, colours, 0.45, new Uint32Array(image.data.buffer));
      context.drawImage(await createImageBitmap(image), 0, 0);
    }
  }
  $('compare').onclick = () => { slider.max = editor.project.clip.length - 1; slider.value = editor.frame; dialog.showModal(); show().catch((error) => editor.tell(error.message)); };
  slider.oninput = () => show().catch(() => {});
  $('compare-later').onclick = () => dialog.close();
  for (const which of ['before', 'after']) $(`keep-${which}`).onclick = async () => {
    dialog.close(); await editor.act('POST', '/adapt/keep', { which }); editor.cache.clear(); editor.key = null; await refresh();
  };
}

const KINDS = [['masks', 'Masks, palette PNG (zip)'], ['coco', 'COCO with RLE (json)'], ['yolo', 'YOLO segmentation (zip)'], ['points', 'Keypoints (csv)'], ['overlay', 'Video with labels (mp4)'], ['cvat', 'CVAT for video 1.1 (xml)'], ['tiff', 'TIFF of labels for napari (tif)']];

export function addExchange(editor) {
  $('exports').replaceChildren(...KINDS.map(([kind, text]) => {
    const button = make('button', { className: 'small', id: `export-${kind}` }, text);
    button.onclick = async () => {
      button.disabled = true;
      await editor.queue;
      try {
        const answer = await fetch(`/api${editor.base}/export/${kind}`);
        if (!answer.ok) throw new Error((await answer.json()).detail);
        const name = /filename="?([^";]+)/.exec(answer.headers.get('content-disposition') || '')?.[1] || kind;
        const link = make('a', { href: URL.createObjectURL(await answer.blob()), download: name });
        link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      } catch (error) { editor.tell(error.message); } finally { button.disabled = false; }
    };
    return make('li', {}, button);
  }));
  $('import').onchange = async (event) => {
    const [file] = event.target.files, form = new FormData();
    form.append('file', file); event.target.value = '';
    const told = await editor.act('POST', `/import?frame=${editor.frame}`, form);
    if (told) { editor.cache.clear(); editor.key = null; await editor.go(told.imported.includes(editor.frame) ? editor.frame : told.imported[0]); editor.tell(`Imported: ${told.imported.length} frame${told.imported.length > 1 ? 's' : ''}.`); }
  };
  $('forget').onclick = async () => { await editor.act('DELETE', `/frames/${editor.frame}`); editor.key = null; editor.load(); };
}

export function addTimeline(editor) {
  const canvas = $('track'), context = canvas.getContext('2d'), scrub = $('scrub');
  const place = (frame) => `calc(8px + (100% - 16px) * ${frame / Math.max(1, editor.project.clip.length - 1)})`;
  function draw() {
    const p = editor.project;
    if (!p) return;
    const style = getComputedStyle(document.body), ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, n = p.clip.length, x = (f) => w * f / Math.max(1, n - 1);
    canvas.width = w * ratio; canvas.height = h * ratio; context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = style.getPropertyValue('--press');
    for (const [a, b] of p.labelled) context.fillRect(x(a - 0.5), 0, x(b + 0.5) - x(a - 0.5), h);
    if (p.stale !== null && p.labelled.length) { context.fillStyle = style.getPropertyValue('--warn'); context.fillRect(x(p.stale), 0, w, h); }
    const frames = Object.keys(p.confidence).map(Number).sort((a, b) => a - b);
    for (const object of p.objects) {
      if (object.hidden) continue;
      context.beginPath(); let last = null;
      for (const frame of frames) {
        const sure = p.confidence[frame][object.id];
        if (sure === undefined) { last = null; continue; }
        const y = 3 + (h - 6) * (1 - sure);
        if (last === frame - 1) context.lineTo(x(frame), y); else context.moveTo(x(frame), y);
        last = frame;
      }
      context.lineWidth = 3.5; context.strokeStyle = style.getPropertyValue('--panel'); context.stroke();
      context.lineWidth = 2; context.strokeStyle = object.colour; context.stroke();
    }
    const marks = [...Object.keys(p.annotated).map((f) => [Number(f), '◆', 'drawn']), ...p.doubtful.map((f) => [f, '▲', 'doubt'])];
    $('marks').replaceChildren(...marks.map(([frame, sign, kind]) => {
      const words = kind === 'drawn' ? `Annotated: frame ${frame}` : `Worth a correction: frame ${frame}`;
      const button = make('button', { className: kind, title: words, 'aria-label': words }, sign);
      button.style.left = place(frame); button.onclick = () => editor.go(frame);
      return button;
    }));
    scrub.max = n - 1; $('frame').max = n - 1; $('length').textContent = `of ${n - 1}`;
    $('legend').replaceChildren(...(frames.length ? [make('i', {}, '◆ '), 'annotated  ', make('b', {}, '▲ '), 'doubtful  – line: how sure'] : []));
    $('doubtful').disabled = !p.doubtful.length;
  }
  let seen = null;
  editor.addEventListener('project', () => { const key = editor.project && `${editor.project.revision}${JSON.stringify(editor.project.annotated)}`; if (key !== seen) { seen = key; draw(); } });
  new ResizeObserver(draw).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  editor.addEventListener('frame', () => {
    scrub.value = editor.frame; if (document.activeElement !== $('frame')) $('frame').value = editor.frame;
    const drawn = editor.project.annotated[editor.frame], kind = drawn ? 'drawn' : editor.source === 'tracked' ? 'tracked' : 'none';
    $('kind').textContent = { drawn: 'annotated', tracked: 'propagated', none: 'no labels yet' }[kind]; $('kind').className = `tag ${kind}`;
    const play = $('play'); play.replaceChildren(icon(editor.playing ? 'pause' : 'play')); play.setAttribute('aria-label', editor.playing ? 'Pause' : 'Play');
  });
  scrub.oninput = () => editor.go(Number(scrub.value));
  $('frame').onchange = () => editor.go(Number($('frame').value) || 0);
  $('previous').onclick = () => editor.go(editor.frame - 1);
  $('next').onclick = () => editor.go(editor.frame + 1);
  $('play').onclick = () => editor.play();
  const doubt = () => { const d = editor.project.doubtful; if (d.length) editor.go(d.find((f) => f > editor.frame) ?? d[0]); };
  $('doubtful').onclick = doubt;
  return { doubt };
}
