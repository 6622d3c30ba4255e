// Apply the stored theme before the page is rendered, to avoid a flash of the other one.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* a page opened from disk may have no storage */ }
