() => {
  // Keys (the letters on the buttons, and the arrows) and focus of the review page. gradio calls this function once, when the page has loaded.
  const page = document.documentElement;
  const find = (id) => document.getElementById(id);
  page.dir = 'rtl';
  page.lang = 'ur';
  document.body.classList.remove('dark');

  window.alif = {
    busy: (all) => { find('actions').classList.add('busy'); return all; },
    done: (said) => {
      find('actions').classList.remove('busy');
      if (String(said).includes('class="refused"')) return;
      alif.leave();
      window.scrollTo(0, 0);
    },
    leave: () => { find('editor').classList.remove('open'); document.activeElement?.blur(); },
    edit: () => {
      if (!document.querySelector('[data-id]')) return;
      find('editor').classList.add('open');
      find('editor').scrollIntoView({block: 'start'});
      find('new-output').querySelector('textarea').focus({preventScroll: true});
    },
  };

  const keys = {a: 'accept', r: 'reject', e: 'edit', n: 'next', p: 'previous', arrowleft: 'next', arrowright: 'previous'};
  const writing = (e) => e.target.closest('textarea, input:not([type=checkbox]), [contenteditable], [role=listbox]');
  document.addEventListener('keydown', (e) => {
    const editing = find('editor').classList.contains('open');
    const busy = find('actions').classList.contains('busy');
    if (e.key === 'Escape') return editing ? find('back').click() : alif.leave();
    if (e.key === 'Enter' && e.ctrlKey && editing) return find('save').click();
    if (e.key === 'Enter' && e.target.closest('#reviewer')) return e.target.blur();
    if (writing(e) || e.ctrlKey || e.altKey || e.metaKey || e.repeat || busy) return;
    // Letters go by the key's place where the layout is not Latin: with an Urdu keyboard the A key types ا.
    const key = /^[a-z]$/i.test(e.key) || e.key.startsWith('Arrow') ? e.key : e.code.replace('Key', '');
    const id = keys[key.toLowerCase()];
    if (id) { e.preventDefault(); find(id).click(); }
  });
}
