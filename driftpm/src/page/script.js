'use strict';
(() => {
  const search = document.getElementById('search');
  const input = document.getElementById('words');
  const count = document.getElementById('count');
  const rows = [...document.querySelectorAll('#list > tbody')]
    .map(row => [row, row.textContent.toLowerCase()]);
  const all = count.textContent;
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every(word => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    count.textContent = words.length === 0 ? all : `${shown} of ${all}`;
  };
  const asked = () => {
    if (!location.hash.startsWith('#q=')) return;
    try {
      input.value = decodeURIComponent(location.hash.slice(3));
    } catch {
      return;
    }
    show();
  };
  input.addEventListener('input', show);
  window.addEventListener('hashchange', asked);
  search.hidden = false;
  asked();
})();
