// Instants in the reader's own time zone and language; the instant in UTC stays as the title.
const today = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const other = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
});

export function localised(within) {
  for (const each of within.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(each.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    each.title = each.textContent;
    const sameDay = at.toDateString() === new Date().toDateString();
    each.textContent = (sameDay ? today : other).format(at);
  }
}
