// The colours that somebody chose, before anything is drawn.
(() => {
  const saved = localStorage.getItem('larder-theme');
  if (saved === 'light' || saved === 'dark') document.documentElement.dataset.theme = saved;
})();
