// Talking to the server: JSON, and label images as gzip in base64.

export class Refusal extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function ask(method, path, body, extra = {}) {
  const options = { method, headers: { ...extra } };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers['content-type'] = 'application/json';
  }
  let answer;
  try {
    answer = await fetch(`/api${path}`, options);
  } catch {
    throw new Refusal(0, 'The server does not answer. Is liir serve still running?');
  }
  if (answer.status === 304) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, wording(told.detail) || `Error ${answer.status}`);
  if (answer.headers.get('etag')) told.etag = answer.headers.get('etag');
  return told;
}

function wording(detail) {
  if (!Array.isArray(detail)) return detail;
  return detail.map((each) => `${(each.loc || []).slice(1).join('.')}: ${each.msg}`).join('; ');
}

export async function pack(labels) {
  const stream = new Blob([labels]).stream().pipeThrough(new CompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

export async function unpack(text, count) {
  if (!text) return new Uint8Array(count);
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function upload(files, progress) {
  return new Promise((done, failed) => {
    const form = new FormData();
    for (const file of files) form.append('files', file, file.name);
    const request = new XMLHttpRequest();  // fetch tells nothing of how far an upload is
    request.open('POST', '/api/projects');
    request.upload.onprogress = (event) => progress(event.loaded / (event.total || 1));
    request.onerror = () => failed(new Refusal(0, 'The upload broke off.'));
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* told below */ }
      if (request.status === 200) done(told);
      else failed(new Refusal(request.status, wording(told.detail) || `Error ${request.status}`));
    };
    request.send(form);
  });
}
