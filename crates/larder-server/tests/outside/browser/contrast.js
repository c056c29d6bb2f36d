// What on this page is hard to read or to hit (WCAG 2.2, 1.4.3 and 2.5.8): an array of complaints.
(() => {
  const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  /** Any colour of CSS, over white, as what a screen shows: red, green, blue from 0 to 255, and the opacity that it had. */
  const paint = (...layers) => {
    context.clearRect(0, 0, 1, 1);
    for (const layer of layers) {
      context.fillStyle = layer;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    return ['Canvas', ...layers];
  };
  const complaints = [];
  const shown = (node) => node.checkVisibility() && node.getClientRects().length && getComputedStyle(node).clipPath === 'none';
  for (const node of document.querySelectorAll('body *')) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || !shown(node) || node.closest('.only-read, .skip, :disabled, option, svg, noscript')) continue;
    const ground = behind(node);
    const [light, dark] = [luminance(paint(...ground).slice(0, 3)), luminance(paint(...ground, getComputedStyle(node).color).slice(0, 3))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) complaints.push(`${node.tagName} ${node.className} "${node.textContent.trim().slice(0, 30)}": contrast ${ratio.toFixed(2)}`);
  }
  for (const node of document.querySelectorAll('button, input, select, a')) {
    if (!shown(node) || node.closest('p, .skip')) continue;
    const { width, height } = node.getBoundingClientRect();
    if (width < 24 || height < 24) complaints.push(`${node.tagName} ${node.id}: ${width} × ${height} is small to hit`);
    const named = node.labels?.length || node.textContent.trim() || node.getAttribute('aria-label');
    if (!named) complaints.push(`${node.tagName} ${node.id} has no name`);
  }
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) complaints.push(`${wide} px are cut off at the side`);
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => complaints.push(`two things are #${id}`));
  return complaints;
})()
