// What of this page is cut off: an array of complaints. Tables may go on beyond the side of a phone, and nowhere else.
(async () => {
  const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
  await frame();
  await frame();
  const complaints = [];
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const isPhone = innerWidth < 600;
  const name = (node) => `${node.tagName} ${node.id || node.className} "${node.textContent.trim().slice(0, 30)}"`;
  for (const node of document.querySelectorAll('body *')) {
    if (!node.checkVisibility() || node.closest('.only-read, .skip, svg, .uplot, noscript')) continue;
    const style = getComputedStyle(node);
    const over = style.display === 'inline' ? 0 : node.scrollWidth - node.clientWidth;
    if (over > 0 && !(isPhone && node.matches('.scroll'))) complaints.push(`${name(node)}: ${over} px`);
    if (!node.placeholder) continue;
    context.font = style.font;
    const room = node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (context.measureText(node.placeholder).width > room) complaints.push(`${name(node)}: ${node.placeholder}`);
  }
  // The times below a chart: what reaches the edge of the canvas does not end there.
  for (const canvas of document.querySelectorAll('.chart canvas')) {
    const height = Math.round(24 * devicePixelRatio);
    context.clearRect(0, 0, 1, height);
    context.drawImage(canvas, canvas.width - 1, canvas.height - height, 1, height, 0, 0, 1, height);
    if (context.getImageData(0, 0, 1, height).data.some((byte) => byte)) complaints.push(`${canvas.closest('.chart').id}: a time is cut off`);
  }
  return complaints;
})()
