//! Plain and aligned, or JSON.

use std::io::{self, Write};

use ruko_core::exit::one_line;
use serde::Serialize;

/// Rows whose columns begin below each other. Foreign text cannot break a row or drive a terminal.
pub(super) fn table<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// JSON that people can read, too.
pub(super) fn json(out: &mut dyn Write, what: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(what)?;
    writeln!(out, "{text}")
}

/// A list that may be empty.
pub(super) fn joined<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// `v7`, or `-`.
pub(super) fn version(release: Option<u64>) -> String {
    release.map_or_else(|| "-".to_owned(), |version| format!("v{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let mut out = Vec::new();
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
        table(&mut out, &[row("é", "longer", ""), row("abc", "x\ny\x1b[2J", "last")]).unwrap();
        let expected = "é    longer\nabc  x; y\\u{1b}[2J  last\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
