() => {
  // Direction, keys, copying and flagging of the chat page. gradio calls this function once, when the page has loaded.
  const page = document.documentElement;
  const find = (id) => document.getElementById(id);
  const box = () => find('message').querySelector('textarea, input');
  const nearEnd = () => window.innerHeight + window.scrollY > document.body.scrollHeight - 200;
  const busy = () => document.body.classList.contains('busy');
  document.body.classList.remove('dark');

  window.alif = {
    place: '',
    busy: (all) => {
      // Screen readers wait with the answer until it is whole.
      document.body.classList.add('busy');
      find('now').setAttribute('aria-busy', 'true');
      follow = true;
      return all;
    },
    done: () => {
      document.body.classList.remove('busy');
      find('now').setAttribute('aria-busy', 'false');
      // On a phone, focus would open the keyboard over the answer.
      if (!matchMedia('(pointer: coarse)').matches) box().focus({preventScroll: true});
    },
    flag: (button) => {
      alif.place = `${button.dataset.turn} ${button.dataset.who}`;
      alif.from = button;
      find('flagging').classList.add('open');
      find('note').querySelector('textarea').focus({preventScroll: true});
    },
    close: () => { find('flagging').classList.remove('open'); alif.from?.focus(); },
    flagged: (said) => { if (!String(said).includes('class="refused"')) alif.close(); return said; },
  };
  const roles = {past: ['log', 'off'], now: ['log', 'polite'], status: ['status', 'polite']};
  for (const [id, [role, live]] of Object.entries(roles)) {
    find(id).setAttribute('role', role);
    find(id).setAttribute('aria-live', live);
  }

  // The heading says in which language the page is; when it changes, so do direction and labels.
  const turn = () => {
    const title = find('head').querySelector('h1');
    if (!title || title.lang === page.lang) return;
    page.lang = title.lang;
    page.dir = title.dir;
    for (const id of ['past', 'now']) find(id).setAttribute('aria-label', title.dataset.conversation);
  };
  new MutationObserver(turn).observe(find('head'), {childList: true, subtree: true});
  page.lang = '';
  turn();

  // The page follows a growing answer as long as its reader stays at the end.
  let follow = false;
  window.addEventListener('wheel', () => { follow = nearEnd(); }, {passive: true});
  window.addEventListener('touchmove', () => { follow = nearEnd(); }, {passive: true});
  new MutationObserver(() => { if (follow && busy()) window.scrollTo(0, document.body.scrollHeight); })
    .observe(find('now'), {childList: true, subtree: true, characterData: true});

  const type = (text) => {
    box().value = text;
    box().dispatchEvent(new Event('input', {bubbles: true}));
    box().focus();
  };
  document.addEventListener('click', async (e) => {
    const button = e.target.closest('.copy, .flag, .example');
    if (!button) return;
    if (button.matches('.example')) return type(button.dataset.prompt);
    if (button.matches('.flag')) return alif.flag(button);
    await navigator.clipboard.writeText(button.dataset.raw);
    const before = button.textContent;
    button.textContent = '✓ ' + before;
    setTimeout(() => { button.textContent = before; }, 1500);
  });
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    if (find('flagging').classList.contains('open')) return alif.close();
    if (busy()) find('stop').click();
  });
}
