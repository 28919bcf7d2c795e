// The OpenAPI description as a page.
const told = await (await fetch('/openapi.json')).json(), groups = {};
for (const [path, ways] of Object.entries(told.paths)) for (const [method, way] of Object.entries(ways)) (groups[way.tags?.[0] || 'other'] ??= []).push([method, path, way]);
const node = (tag, text, ...more) => { const n = document.createElement(tag); n.append(text, ...more); return n; };
for (const [group, ways] of Object.entries(groups)) {
  const list = document.createElement('dl');
  for (const [method, path, way] of ways) list.append(node('div', node('dd', way.summary || ''), node('dt', node('kbd', `${method.toUpperCase()} ${path}`))));
  list.style.gridTemplateColumns = '1fr';
  document.getElementById('paths').append(node('h2', group), list);
}
