// The timeline: confidence, marks, transport.
import { $, icon, make } from './dom.js';

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
    context.fillStyle = style.getPropertyValue('--warn');
    for (const [a, b] of p.outdated) context.fillRect(x(a - 0.5), 0, x(b + 0.5) - x(a - 0.5), h);
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
  function tag() {
    const p = editor.project, among = (ranges) => ranges.some(([a, b]) => a <= editor.frame && editor.frame <= b);
    const kind = p.annotated[editor.frame] ? 'drawn' : among(p.outdated) ? 'outdated' : among(p.labelled) ? 'tracked' : 'none';
    $('kind').textContent = { drawn: 'annotated', outdated: 'from before your change', tracked: 'propagated', none: 'no labels yet' }[kind];
    $('kind').className = `tag ${kind}`; $('forget').hidden = kind !== 'drawn';
  }
  let seen = null;
  editor.addEventListener('project', () => { const key = editor.project && `${editor.project.revision}${JSON.stringify(editor.project.annotated)}`; if (key !== seen) { seen = key; draw(); } if (key) tag(); });
  new ResizeObserver(draw).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  editor.addEventListener('frame', () => {
    scrub.value = editor.frame; if (document.activeElement !== $('frame')) $('frame').value = editor.frame;
    tag();
    const play = $('play'); play.replaceChildren(icon(editor.playing ? 'pause' : 'play')); play.setAttribute('aria-label', editor.playing ? 'Pause' : 'Play');
  });
  scrub.oninput = () => editor.go(Number(scrub.value));
  $('frame').onchange = () => editor.go(Number($('frame').value) || 0);
  $('previous').onclick = () => editor.go(editor.frame - 1);
  $('next').onclick = () => editor.go(editor.frame + 1);
  $('play').onclick = () => editor.play();
  $('forget').onclick = () => editor.forget();
  const point = (event) => editor.go((event.offsetX / canvas.clientWidth) * (editor.project.clip.length - 1));
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); point(event); };
  canvas.onpointermove = (event) => { if (event.buttons) point(event); };
  const doubt = () => { const d = editor.project.doubtful; if (d.length) editor.go(d.find((f) => f > editor.frame) ?? d[0]); };
  $('doubtful').onclick = doubt;
  return { doubt };
}
