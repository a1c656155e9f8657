/** The runnable blocks of a Markdown text, with the line at which each begins. */
export function readmeSnippets(markdown) {
  const snippets = [];
  let open;
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = /^\s*(`{3,}|~{3,})\s*(\S*)/.exec(line);
    if (open === undefined) {
      if (fence) open = { mark: fence[1], language: fence[2], line: index + 2, lines: [] };
    } else if (fence && fence[2] === '' && fence[1].startsWith(open.mark)) {
      if (open.language === 'js') snippets.push({ line: open.line, code: open.lines.join('\n') });
      open = undefined;
    } else {
      open.lines.push(line);
    }
  }
  return snippets;
}
