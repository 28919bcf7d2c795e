// The whole: which project is open, keys, dialogs.
import { addAdapting } from './adapting.js';
import { ask, upload } from './api.js';
import { $, make } from './dom.js';
import { Editor } from './editor.js';
import { addExchange } from './exchange.js';
import { Frames } from './frames.js';
import { addLists } from './lists.js';
import { addRuns } from './runs.js';
import { addTimeline } from './timeline.js';
import { addTools } from './tools.js';
import { View } from './view.js';

let toastTimer;
function tell(text) {
  clearTimeout(toastTimer); $('toast').textContent = text; $('toast').hidden = !text;
  if (text) toastTimer = setTimeout(() => { $('toast').hidden = true; }, 6000);
}

function question(text, value = null, yes = 'OK') {
  return new Promise((done) => {
    const dialog = $('ask');
    $('ask-text').textContent = text; $('ask-field').hidden = value === null; $('ask-input').value = value ?? ''; $('ask-yes').textContent = yes;
    dialog.onclose = () => done(dialog.returnValue === 'yes' ? (value === null ? true : $('ask-input').value.trim()) : null);
    dialog.returnValue = ''; dialog.showModal(); if (value !== null) $('ask-input').select();
    $('ask-input').onkeydown = (event) => { if (event.key === 'Enter') { event.preventDefault(); dialog.close('yes'); } };
  });
}

const view = new View($('canvas'));
const frames = new Frames($('video'), (source) => { if (source) view.show(source); });
const editor = new Editor(view, frames, tell);
let space = false;
const options = { negative: () => $('negative').checked, reach: () => $('reach').value / 100, space: () => space };
const tools = addTools(editor, view, options);

editor.setTool = (tool) => {
  tools.cancel();
  editor.tool = tool; view.ring = tool === 'brush' || tool === 'erase';
  for (const each of document.querySelectorAll('[data-tool]')) each.setAttribute('aria-pressed', each.dataset.tool === tool);
  for (const each of document.querySelectorAll('[data-for]')) each.hidden = !each.dataset.for.split(' ').includes(tool);
  $('canvas').classList.toggle('pan', tool === 'pan'); editor.changed(); view.draw();
};
for (const each of document.querySelectorAll('[data-tool]')) each.onclick = () => editor.setTool(each.dataset.tool);

const server = await ask('GET', '/server');
const lists = addLists(editor, view, question);
const runs = addRuns(editor, server);
const timeline = addTimeline(editor);
addExchange(editor); addAdapting(editor, runs);

function brush(size) { view.radius = Math.min(100, Math.max(1, size)) / 2; $('brush-size').value = $('brush-out').textContent = 2 * view.radius; view.draw(); }
$('brush-size').oninput = () => brush(Number($('brush-size').value));
$('opacity').oninput = () => { view.opacity = $('opacity').value / 100; view.paint(); };
$('reach').onchange = () => { if (editor.scribble) tools.grow(); };
$('fit').onclick = () => view.fit();
$('undo').onclick = () => editor.step('undo');
$('redo').onclick = () => editor.step('redo');
$('project-name').onchange = () => { const name = $('project-name').value.trim(); if (name) editor.act('PATCH', '', { name }); };
$('help-open').onclick = () => $('help').showModal();
editor.addEventListener('saving', () => { $('saved').textContent = editor.waiting ? editor.doing || 'Saving…' : editor.unsaved ? 'Not saved' : 'Saved'; });
editor.addEventListener('project', () => {
  const p = editor.project;
  $('undo').disabled = !p?.undo; $('redo').disabled = !p?.redo;
  if (!p) return;
  document.title = `${p.name} – liir`;
  const nothing = !Object.keys(p.annotated).length, hint = $('hint');
  hint.textContent = nothing ? 'Paint the first object, then press Propagate.' : ''; hint.hidden = !nothing;
  if (!p.playable && p.tasks.some((t) => t.kind === 'proxy' && t.status === 'running')) { hint.textContent = 'Making a copy that plays smoothly…'; hint.hidden = false; }
});

// --- Keys

const KEYS = [
  ['b e p f s k h', 'Brush, eraser, polygon, fill, smart, keypoint, move', null],
  ['1 … 9', 'Choose an object', null], ['n', 'New object', () => lists.add()],
  ['[ ]', 'Smaller, larger brush', null], ['← →', 'One frame back, on (Shift: ten)', null], ['Home End', 'First, last frame', null],
  ['l', 'Play, pause', () => editor.play()], ['d', 'Next doubtful frame', () => timeline.doubt()], ['r', 'Propagate', () => runs.start()],
  ['Ctrl+Z', 'Undo', null], ['Ctrl+Shift+Z', 'Redo', null], ['Space', 'Held: move the view; wheel zooms', null], ['0', 'Whole frame', () => view.fit()],
  ['v', 'Keypoint seen or not', () => toggle()], ['Delete', 'Take the keypoint away', () => remove()], ['c', 'Keyboard cursor: arrows, Enter', () => cursor()], ['Enter Esc', 'Close, give up a polygon', null], ['Shift+Enter', 'The same with the keyboard cursor', null],
  ['Alt', 'Held, or right button: smart stroke on what is not the object', null], ['Shift', 'Held: erase all objects', null], ['?', 'This help', () => $('help').showModal()],
];
$('keys').append(...KEYS.map(([keys, words]) => make('div', {}, make('dt', {}, ...keys.split(' ').flatMap((k) => [make('kbd', {}, k), ' '])), make('dd', {}, words))));
const TOOLS = { b: 'brush', e: 'erase', p: 'polygon', f: 'fill', s: 'smart', k: 'point', h: 'pan' };
function toggle() { const name = editor.point, at = view.points[name]; if (at) { at.visible = !at.visible; view.draw(); editor.place({ [name]: { x: at.x, y: at.y, visible: at.visible } }); } }
function remove() { if (editor.tool === 'point' && editor.drawnPoints?.includes(editor.point)) editor.forget(editor.point); }
function cursor() { view.keyboard = !view.keyboard; view.cursor = view.keyboard ? [view.width / 2, view.height / 2] : null; $('canvas').focus(); view.draw(); tell(view.keyboard ? 'Keyboard cursor: arrow keys move it, Enter uses the tool, C ends.' : ''); }

addEventListener('keydown', (event) => {
  const field = event.target.closest?.('input:not([type=radio]):not([type=checkbox]):not([type=range]), select, textarea, dialog');
  if (!editor.project || document.querySelector('dialog[open]')) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && (key === 'z' || key === 'y')) { if (event.target.type === 'text') return; event.preventDefault(); editor.step(key === 'y' || event.shiftKey ? 'redo' : 'undo'); return; }
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  const slider = event.target.type === 'range', control = !slider && event.target.closest?.('button, a, summary, label');
  if (slider && event.target.id !== 'scrub' && /^(Arrow|Home|End|Page)/.test(key)) return;  // its own
  if (arrows && view.keyboard) { event.preventDefault(); const by = event.shiftKey ? 10 : 1; tools.nudge(arrows[0] * by, arrows[1] * by); return; }
  if (arrows && arrows[0] && event.target.type !== 'radio') { event.preventDefault(); editor.go(editor.frame + arrows[0] * (event.shiftKey ? 10 : 1)); return; }
  if (key === 'Home' || key === 'End') { event.preventDefault(); editor.go(key === 'Home' ? 0 : editor.project.clip.length - 1); return; }
  if (key === ' ') { if (!control) { event.preventDefault(); space = true; } return; }
  if (key === 'Enter') { if (!control) { if (view.keyboard && !(editor.tool === 'polygon' && event.shiftKey)) tools.use(event.shiftKey); else tools.close(); } return; }
  if (key === 'Escape') { tools.cancel(); return; }
  if (TOOLS[key]) editor.setTool(TOOLS[key]);
  else if (/^[1-9]$/.test(key)) { const chosen = editor.project.objects[key - 1]; if (chosen) { editor.object = chosen.id; if (editor.tool === 'point') editor.setTool('brush'); editor.changed(); } }
  else if (key === '[' || key === ']') brush(2 * view.radius + (key === ']' ? 1 : -1) * Math.max(1, Math.round(view.radius / 3)));
  else { const found = KEYS.find(([k]) => k === key); if (found?.[2]) { event.preventDefault(); found[2](); } }
});
// A list chosen from with a pointer gives the keys back.
let pointed = false;
addEventListener('pointerdown', () => { pointed = true; }, true);
addEventListener('keydown', () => { pointed = false; }, true);
addEventListener('change', (event) => { if (pointed && event.target.matches('select')) event.target.blur(); });
addEventListener('keyup', (event) => { if (event.key === ' ') space = false; });

// --- Start

function day(seconds) {
  const then = new Date(1000 * seconds), today = then.toDateString() === new Date().toDateString();
  return `${today ? 'today' : then.toLocaleDateString()} ${then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })}`;
}

async function start() {
  editor.close(); document.title = 'liir';
  const projects = await ask('GET', '/projects');
  $('projects-section').hidden = !projects.length;
  $('projects').replaceChildren(...projects.map((p) => {
    const words = p.error || `${p.frames} frames, ${p.width}×${p.height}, ${p.annotated} annotated`;
    const picture = make('img', { alt: '', loading: 'lazy', src: p.error ? 'icon.svg' : `/api/projects/${p.id}/frames/0/picture` });
    const remove = make('button', { className: 'small', 'aria-label': `Delete ${p.name}` }, 'Delete');
    remove.onclick = async () => {
      if (!await question(`Delete “${p.name}”, its video, annotations and labels?`, null, 'Delete')) return;
      await ask('DELETE', `/projects/${p.id}`).catch((error) => tell(error.message)); start();
    };
    return make('li', {}, make('a', { href: `#${p.id}` }, picture, make('div', {}, make('strong', {}, p.name), make('span', { className: 'quiet' }, words), make('span', { className: 'quiet day' }, `changed ${day(p.changed)}`))), remove);
  }));
}

async function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  let open = Boolean(id);
  for (const each of ['editor', 'actions', 'title']) $(each).hidden = !open;
  $('start').hidden = open; $('saved').textContent = '';
  try {
    if (open) { await editor.open(id); editor.setTool('brush'); brush(Math.max(4, Math.round(editor.project.clip.height / 16))); } else await start();
  } catch (error) { tell(error.message); if (open) location.hash = ''; }
}

async function send(files) {
  if (!files.length) return;
  $('uploading').hidden = false;
  try {
    const told = await upload(files, (share) => { $('upload-bar').value = share; $('upload-note').textContent = share < 1 ? `${Math.round(100 * share)} %` : 'Looking through the video…'; });
    location.hash = told.id;
  } catch (error) { tell(error.message); } finally { $('uploading').hidden = true; $('pick').value = ''; }
}
$('pick').onchange = (event) => send([...event.target.files]);
addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', (event) => { event.preventDefault(); $('drop').classList.remove('over'); if (!$('start').hidden) send([...event.dataTransfer.files]); });
addEventListener('hashchange', route);
addEventListener('beforeunload', (event) => { if (editor.waiting) event.preventDefault(); });
window.liir = { editor, view, frames };
await route();
