/* What a page lacks for somebody who does not see it or has no mouse: a list of sentences. */
() => {
  const found = [], all = (what) => [...document.querySelectorAll(what)];
  const shown = (one) => one.getClientRects().length > 0;
  const name = (one) => (one.getAttribute("aria-label") || one.textContent || one.title || "").trim();
  if (!document.documentElement.lang) { found.push("the page has no language"); }
  if (!document.title) { found.push("the page has no title"); }
  for (const tag of ["main", "h1", "header"]) {
    if (all(tag === "header" ? "body > header" : tag).length !== 1) { found.push(`there is not one ${tag}`); }
  }
  let last = 0;
  for (const heading of all("h1,h2,h3,h4")) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) { found.push(`after h${last} comes ${heading.tagName}: ${name(heading)}`); }
    last = level;
  }
  const ids = all("[id]").map((one) => one.id);
  for (const id of ids.filter((one, at) => ids.indexOf(one) !== at)) { found.push(`the id ${id} is there twice`); }
  for (const image of all("img")) { if (!image.alt) { found.push(`${image.src} has no alt`); } }
  for (const drawn of all("svg")) {
    if (drawn.getAttribute("aria-hidden") !== "true" && !drawn.getAttribute("aria-label")) { found.push("an svg has no name"); }
  }
  for (const one of all("a,button")) { if (!name(one)) { found.push(`${one.outerHTML.slice(0, 80)} has no name`); } }
  for (const field of all("input:not([type=hidden]),select,textarea")) {
    if (!field.labels.length) { found.push(`${field.name} has no label`); }
  }
  for (const table of all("table")) {
    if (!table.caption) { found.push("a table has no caption"); }
    for (const cell of table.querySelectorAll("th")) { if (!cell.scope) { found.push(`${name(cell)} has no scope`); } }
  }
  for (const one of all("[aria-labelledby],[aria-describedby]")) {
    for (const kind of ["aria-labelledby", "aria-describedby"]) {
      const to = one.getAttribute(kind);
      if (to && !document.getElementById(to)) { found.push(`${kind} leads to ${to}, which is not there`); }
    }
  }
  if (!all("[role=status]").length && all("[data-part]").length) { found.push("a live page tells nobody of news"); }

  const parsed = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => { const s = value / 255; return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const ground = parsed(getComputedStyle(at).backgroundColor);
      if (ground.length < 4 || ground[3] === 1) { return ground; }
    }
    return [255, 255, 255];
  };
  for (const one of all("body *")) {
    const has = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!has || !shown(one) || one.closest(".unseen,.skip,svg,option,title")) { continue; }
    const [front, back] = [light(parsed(getComputedStyle(one).color)), light(behind(one))];
    const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    const size = parseFloat(getComputedStyle(one).fontSize), isBold = Number(getComputedStyle(one).fontWeight) >= 600;
    const enough = size >= 24 || (size >= 18.66 && isBold) ? 3 : 4.5;
    if (contrast < enough) { found.push(`${contrast.toFixed(2)}: ${one.className} ${name(one).slice(0, 40)}`); }
  }
  return [...new Set(found)];
}
