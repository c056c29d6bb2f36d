// Draws /openapi.json: every route with its parameters, bodies and answers, and a form that sends a request.
'use strict';

let token = null;
let spec = {};

// Text always goes in as text, so nothing in the document can become markup.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === 'onclick' || key === 'onsubmit') node[key] = value;
    else if (value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function resolve(schema, depth = 0) {
  if (!schema || !schema.$ref || depth > 20) return schema || {};
  const found = schema.$ref.slice(2).split('/').reduce((at, key) => at && at[key], spec);
  return resolve(found, depth + 1);
}

// An example of what a schema describes; cycles end at a depth nobody reads.
function example(given, depth = 0) {
  const schema = resolve(given);
  if (depth > 6) return null;
  if (schema.example !== undefined) return schema.example;
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const variants = schema.oneOf || schema.anyOf;
  if (variants) return example(variants.find((variant) => resolve(variant).type !== 'null') || {}, depth + 1);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => example(part, depth + 1)));
  const type = Array.isArray(schema.type) ? schema.type.find((name) => name !== 'null') : schema.type;
  switch (type) {
    case 'array': return [example(schema.items, depth + 1)];
    case 'boolean': return true;
    case 'integer':
    case 'number': return schema.minimum ?? 1;
    case 'string':
      if (schema.format === 'uuid') return '00000000-0000-7000-8000-000000000000';
      if (schema.format === 'date-time') return '2026-01-01T00:00:00Z';
      if (schema.format === 'date') return '2026-01-01';
      return 'text';
    default: {
      const object = {};
      for (const [key, value] of Object.entries(schema.properties || {})) object[key] = example(value, depth + 1);
      return object;
    }
  }
}

function typeOf(given) {
  const schema = resolve(given);
  if (schema.enum) return schema.enum.join(' | ');
  const type = Array.isArray(schema.type) ? schema.type.join(' | ') : schema.type || 'any';
  const bounds = [['minimum', '≥'], ['maximum', '≤'], ['maxLength', 'length ≤'], ['maxItems', 'items ≤']]
    .filter(([key]) => schema[key] !== undefined)
    .map(([key, sign]) => `${sign} ${schema[key]}`);
  return [schema.format || type, ...bounds].join(', ');
}

function content(described) {
  const [type, media] = Object.entries((described && described.content) || {})[0] || [];
  return type ? { type, schema: media.schema || {}, given: media.example } : null;
}

function sample(described) {
  const body = content(described);
  if (!body) return null;
  const value = body.given !== undefined ? body.given : example(body.schema);
  return body.type.includes('json') ? JSON.stringify(value, null, 2) : String(value);
}

async function send(method, path, parameters, inputs, body, type, out) {
  const missing = parameters.filter((parameter, index) => parameter.in === 'path' && inputs[index].value === '');
  if (missing.length) {
    out.textContent = `not sent: ${missing.map((parameter) => parameter.name).join(', ')} is empty`;
    return;
  }
  let url = path;
  const query = new URLSearchParams();
  parameters.forEach((parameter, index) => {
    const value = inputs[index].value;
    if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (parameter.in === 'query' && value !== '') query.append(parameter.name, value);
  });
  if ([...query].length) url += `?${query}`;
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = type;
  const begun = performance.now();
  try {
    const response = await fetch(url, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
    const text = await response.text();
    const took = (performance.now() - begun).toFixed(1);
    const shown = ['x-cache', 'cache-status', 'age', 'etag', 'server-timing', 'retry-after', 'x-request-id']
      .filter((name) => response.headers.has(name))
      .map((name) => `${name}: ${response.headers.get(name)}`);
    let pretty = text;
    try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
    out.textContent = [`${response.status} ${response.statusText} in ${took} ms`, ...shown, '', pretty].join('\n');
  } catch (error) {
    out.textContent = `no answer: ${error.message}`;
  }
}

function operation(path, method, described, shared) {
  const parameters = [...(shared || []), ...(described.parameters || [])].map(resolve);
  const inputs = parameters.map((parameter) =>
    el('input', { 'aria-label': parameter.name, placeholder: parameter.schema && resolve(parameter.schema).default }));
  const requestBody = described.requestBody && resolve(described.requestBody);
  const body = requestBody ? el('textarea', { 'aria-label': 'body', spellcheck: 'false' }) : null;
  if (body) body.value = sample(requestBody) || '';
  const bodyType = requestBody && content(requestBody) ? content(requestBody).type : undefined;
  const out = el('pre', { role: 'status' });
  out.hidden = true;
  const rows = parameters.map((parameter, index) => el('tr', {},
    el('td', {}, el('code', {}, parameter.name), parameter.required ? ' *' : ''),
    el('td', { class: 'soft' }, `${parameter.in}, ${typeOf(parameter.schema)}`, el('br'), parameter.description || ''),
    el('td', {}, inputs[index])));
  const answers = Object.entries(described.responses || {}).map(([status, given]) => {
    const answer = resolve(given);
    const text = sample(answer);
    return el('details', {}, el('summary', {}, el('b', {}, status), el('span', { class: 'soft' }, answer.description || '')),
      text ? el('div', {}, el('pre', {}, text)) : null);
  });
  const go = el('button', { onclick: () => { out.hidden = false; send(method, path, parameters, inputs, body, bodyType, out); } }, 'Send');
  const node = el('details', {},
    el('summary', {}, el('span', { class: `method ${method}` }, method.toUpperCase()), el('code', {}, path),
      el('span', { class: 'soft' }, described.summary || '')),
    el('div', {},
      described.description ? el('p', {}, described.description) : null,
      rows.length ? el('table', {}, ...rows) : null,
      body ? el('h3', {}, `Body (${bodyType})`) : null, body,
      el('p', {}, go), out,
      el('h3', {}, 'Answers'), ...answers));
  node.dataset.words = `${method} ${path} ${described.summary || ''} ${described.description || ''}`.toLowerCase();
  return node;
}

function draw() {
  const info = spec.info || {};
  document.getElementById('title').textContent = `${info.title || 'Routes'} ${info.version || ''}`;
  document.getElementById('about').textContent = info.description || '';
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths || {})) {
    for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
      if (!item[method]) continue;
      const tag = (item[method].tags || ['other'])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, item[method], item.parameters));
    }
  }
  const sections = [...groups].map(([tag, nodes]) => el('section', {}, el('h2', {}, tag), ...nodes));
  document.getElementById('routes').replaceChildren(...sections);
}

document.getElementById('filter').addEventListener('input', (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll('section')) {
    let any = false;
    for (const node of section.querySelectorAll('details[data-words]')) {
      node.hidden = !words.every((word) => node.dataset.words.includes(word));
      any = any || !node.hidden;
    }
    section.hidden = !any;
  }
});

document.getElementById('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const who = document.getElementById('who');
  const form = new FormData(event.target);
  try {
    const response = await fetch('/api/v1/auth/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: form.get('email'), password: form.get('password') }),
    });
    const answer = await response.json();
    token = response.ok ? answer.access_token : null;
    who.textContent = response.ok ? `Signed in as ${answer.user.email} (${answer.user.role} of ${answer.tenant_id}).` : answer.detail;
  } catch (error) {
    who.textContent = `no answer: ${error.message}`;
  }
});

fetch('/openapi.json')
  .then((response) => response.json())
  .then((document) => { spec = document; draw(); })
  .catch((error) => { document.getElementById('routes').textContent = `/openapi.json can't be read: ${error.message}`; });
