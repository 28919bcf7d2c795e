// Files out and in: exports, imports.
import { $, make } from './dom.js';
import { tasks } from './runs.js';

const KINDS = [['masks', 'Masks, palette PNG (zip)'], ['coco', 'COCO with RLE (json)'], ['yolo', 'YOLO segmentation (zip)'], ['points', 'Keypoints (csv)'], ['overlay', 'Video with labels (mp4)'], ['cvat', 'CVAT for video 1.1 (xml)'], ['tiff', 'TIFF of labels for napari (tif)']];

export function addExchange(editor) {
  $('exports').replaceChildren(...KINDS.map(([kind, text]) => {
    const button = make('button', { className: 'small', id: `export-${kind}` }, text);
    button.onclick = async () => {
      if (button.ariaDisabled) return;
      button.ariaDisabled = 'true';  // `disabled` would take the focus from it, and the next key with it
      await editor.queue;
      try {
        const answer = await fetch(`/api${editor.base}/export/${kind}`);
        if (!answer.ok) throw new Error((await answer.json()).detail);
        const name = /filename="?([^";]+)/.exec(answer.headers.get('content-disposition') || '')?.[1] || kind;
        const link = make('a', { href: URL.createObjectURL(await answer.blob()), download: name });
        link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 60000);
        const { outdated, interrupted } = editor.project, words = [];
        if (tasks(editor.project).task?.kind === 'propagate' || interrupted) words.push('the run has not come to its end');
        if (outdated.length) words.push(`frames from ${outdated[0][0]} on are from before your last change`);
        if (words.length) editor.tell(`Exported; ${words.join(', and ')}.`);
      } catch (error) { editor.tell(error.message); } finally { button.ariaDisabled = null; }
    };
    return make('li', {}, button);
  }));
  $('import').onchange = async (event) => {
    const [file] = event.target.files, form = new FormData();
    form.append('file', file); event.target.value = '';
    const told = await editor.act('POST', `/import?frame=${editor.frame}`, form);
    if (told) { editor.cache.clear(); editor.key = null; await editor.go(told.imported.includes(editor.frame) ? editor.frame : told.imported[0]); editor.tell(`Imported: ${told.imported.length} frame${told.imported.length > 1 ? 's' : ''}.`); }
  };
}
