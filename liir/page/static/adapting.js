// Adapting: start, curve, before and after side by side, and the choice.
import { ask, unpack } from './api.js';
import { $ } from './dom.js';
import { abgr, tint } from './raster.js';
import { tasks } from './runs.js';

export function addAdapting(editor, runs) {
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
    dialog.close(); await editor.act('POST', '/adapt/keep', { which }); editor.cache.clear(); editor.key = null; await runs.refresh();
  };
  $('adapt').onclick = () => runs.go('/adapt', { minutes: Number($('minutes').value) });
  editor.addEventListener('project', () => {
    const p = editor.project;
    if (!p) return;
    const { task, ended } = tasks(p);
    $('adapt').disabled = Boolean(task);
    const curve = task?.curve || ended?.curve;
    $('curve').toggleAttribute('hidden', !curve || curve.length < 2);
    if (curve?.length > 1) {
      const low = Math.min(...curve), high = Math.max(...curve, low + 1e-9);
      $('curve').firstElementChild.setAttribute('points', curve.map((v, i) => `${200 * i / (curve.length - 1)},${56 - 52 * (v - low) / (high - low)}`).join(' '));
    }
    $('choice').hidden = !p.choice;
  });
}
