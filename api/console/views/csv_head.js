// The first lines of a CSV file, and the same file under other column names.

const HEAD_BYTES = 65_536;
const LONG = ["tag", "value"];

/** {columns, first, second, bytes, separator, long}: `bytes` is the length of the header line with its end. */
export async function csvHead(file) {
  const text = await file.slice(0, HEAD_BYTES).text();
  const header = text.slice(0, text.indexOf("\n") + 1) || text;
  const separator = [",", ";", "\t"].reduce((best, s) => (header.split(s).length > header.split(best).length ? s : best));
  const cells = (line) => split(line ?? "", separator);
  const [, first, second] = text.split(/\r?\n/);
  const columns = cells(header.replace(/^\uFEFF/, "").trimEnd());
  const bytes = new TextEncoder().encode(header).length;
  return { columns, first: cells(first), second: cells(second), bytes, separator, long: LONG.every((name) => columns.includes(name)) };
}

/** The column that is the time: the one of that name, or the first that sounds like it; undefined where none does. */
export const timeColumn = (columns) => columns.find((c) => c === "time") ?? columns.find((c) => /^(time|timestamp|date|datetime|zeit)/i.test(c));

/** Cells of one line; a quoted cell may hold separators and doubled quotes. */
function split(line, separator) {
  const cells = [""];
  let quoted = false;
  for (let i = 0; i < line.length; i += 1) {
    const c = line[i];
    if (c === '"' && quoted && line[i + 1] === '"') {
      cells[cells.length - 1] += '"';
      i += 1;
    } else if (c === '"') quoted = !quoted;
    else if (c === separator && !quoted) cells.push("");
    else cells[cells.length - 1] += c;
  }
  return cells.map((cell) => cell.trim());
}

const quoted = (cell, separator) => (cell.includes(separator) || cell.includes('"') ? `"${cell.replaceAll('"', '""')}"` : cell);

/** The file with its columns renamed, without reading it; a column without a name keeps its own, marked as unused. */
export function withHeader(file, { columns, bytes, separator }, names) {
  if (columns.every((column, i) => column === names[i])) return file;
  const taken = new Set(names);
  const header = columns.map((column, i) => quoted(names[i] || (taken.has(column) ? `unused ${column}` : column), separator));
  return new Blob([`${header.join(separator)}\n`, file.slice(bytes)]);
}
