// Propagating: which frames, settings, progress, cancelling.
import { ask } from './api.js';
import { $, make } from './dom.js';

const seconds = (s) => (s > 90 ? `${Math.round(s / 60)} min` : `${Math.ceil(s)} s`);

// What is under way or waits, and what ended last; copies for the player aside.
export function tasks(project) {
  const all = project.tasks.filter((t) => t.kind !== 'proxy'), active = (t) => t.status === 'running' || t.status === 'waiting';
  return { task: all.find(active), ended: all.filter((t) => !active(t)).at(-1) };
}

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
  $('cancel').onclick = () => { const { task } = tasks(editor.project); if (task) ask('DELETE', `/tasks/${task.id}`).catch((error) => editor.tell(error.message)); };
  for (const name of selects) $(name).onchange = () => {
    const settings = Object.fromEntries(selects.map((s) => [s, $(s).value === '' ? null : s === 'model' ? $(s).value : Number($(s).value)]));
    editor.act('PATCH', '', { settings });
  };

  let before = '';
  editor.addEventListener('project', () => {
    const p = editor.project;
    if (!p) return;
    const { task, ended } = tasks(p);
    $('task').hidden = !task;
    $('propagate').disabled = Boolean(task);
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
    const models = [['', `${server.model} (default)`], ...server.models.filter((m) => m !== server.model).map((m) => [m, m]), ...(p.adapted ? [['adapted', 'adapted to this video']] : [])];
    const key = JSON.stringify(models);
    if (key !== before) { before = key; $('model').replaceChildren(...models.map(([v, t]) => make('option', { value: v }, t))); }
    for (const name of selects) if (document.activeElement !== $(name)) $(name).value = (p.settings[name] === server.model ? null : p.settings[name]) ?? '';
    for (const name of ['size', 'radius', 'references']) $(name).options[0].textContent = p.own ? `The model's: ${p.own[name] || 'as it is'}` : "The model's";
    if (document.activeElement !== $('project-name')) $('project-name').value = p.name;
  });
  return { start, go, refresh };
}
