// The lists of objects and of keypoints.
import { $, icon, make } from './dom.js';

export function addLists(editor, view, question) {
  let opened = null;
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
    // `select` takes the focus: Tab may have gone on by then.
    text.onfocus = text.ondblclick = () => setTimeout(() => { if (document.activeElement === text) text.select(); });
    text.onkeydown = (event) => { if (event.key === 'Enter') text.blur(); };
    const eye = make('button', { className: 'icon', title: each.hidden ? 'Show' : 'Hide', 'aria-label': `Hide ${name}`, 'aria-pressed': each.hidden }, icon(each.hidden ? 'hidden' : 'eye'));
    eye.onclick = () => send({ hidden: !each.hidden });
    const more = make('button', { className: 'icon', title: 'Delete or merge', 'aria-label': `More for ${name}`, 'aria-expanded': opened === key }, icon('more'));
    more.onclick = () => { opened = opened === key ? null : key; draw(); };
    const item = make('li', { className: chosen ? 'chosen' : '' }, make('div', { className: 'row' }, radio, colour, text, eye, more));
    if (opened === key) {
      const remove = make('button', { className: 'small' }, 'Delete');
      remove.onclick = () => { opened = null; editor.act('DELETE', isObject ? path : `/points?name=${encodeURIComponent(name)}`); };
      const extra = make('div', { className: 'row more' }, remove);
      const others = isObject ? editor.project.objects.filter((o) => o.id !== each.id) : [];
      if (others.length) {
        const into = make('select', { 'aria-label': `Merge ${name} into` }, make('option', { value: '' }, 'Merge into…'), ...others.map((o) => make('option', { value: o.id }, o.name)));
        into.onchange = () => { opened = null; editor.object = Number(into.value); editor.act('POST', `${path}/merge`, { into: Number(into.value) }); };
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
  const shut = () => { if (opened !== null) { opened = null; draw(); } };
  addEventListener('keydown', (event) => { if (event.key === 'Escape') shut(); });
  addEventListener('pointerdown', (event) => { if (!event.target.closest?.('.list')) shut(); });
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
