//! Tables that fit the terminal.

use ruko_core::exit::one_line;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands between columns.
const GAP: usize = 2;

/// No column is made narrower than this for want of room.
const NARROWEST: usize = 6;

/// Rows of cells; the first row may be a head.
#[derive(Debug)]
pub(crate) struct Table {
    head: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose columns have names.
    pub(crate) fn with_head<const N: usize>(names: [&str; N]) -> Self {
        Self { head: true, rows: vec![names.map(str::to_owned).to_vec()] }
    }

    /// A table without.
    pub(crate) fn plain() -> Self {
        Self { head: false, rows: Vec::new() }
    }

    /// Adds a row. Foreign text cannot break it or drive a terminal.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(one_line).to_vec());
    }

    pub(super) fn has_head(&self) -> bool {
        self.head
    }

    /// The rows as lines of at most `width` columns. Cells that find no room end in `…`.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let widths = fitted(self.natural(), width);
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }

    fn natural(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.width());
        (0..columns).map(|c| self.rows.iter().map(|row| cell(row, c)).max().unwrap_or(0)).collect()
    }
}

/// Takes from the widest column until all fit, or until none can give any more.
fn fitted(mut widths: Vec<usize>, room: Option<usize>) -> Vec<usize> {
    let Some(room) = room else { return widths };
    let room = room.saturating_sub(GAP * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, &width) in row.iter().zip(widths) {
        let cell = cut(cell, width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
    }
    line.truncate(line.trim_end().len());
    line
}

/// As much of the text as has room, and a `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::with_head(["name", "what"]);
        table.row(["é", "a rather long description of it"]);
        table.row(["日本", "x\ny\x1b[2J"]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_they_take_on_the_screen() {
        let lines = sample().lines(None);
        assert_eq!(lines, ["name  what", "é     a rather long description of it", "日本  x; y\\u{1b}[2J"]);
    }

    #[test]
    fn what_finds_no_room_is_cut() {
        assert_eq!(sample().lines(Some(20))[1], "é     a rather long…");
        assert!(sample().lines(Some(20)).iter().all(|line| line.width() <= 20));
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert!(!sample().lines(Some(1)).is_empty());
    }
}
