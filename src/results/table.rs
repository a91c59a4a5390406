//! Aligned columns and colours, for the text that people read.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How a piece of text is to look. It only repeats what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Odd,
}

/// Whether colour may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ink {
    pub(crate) colour: bool,
}

impl Ink {
    /// Returns the text in a tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Odd => "33",
        };
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    to_the_right: bool,
}

impl Cell {
    /// Text, which stands to the left.
    pub(crate) fn text(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
            to_the_right: false,
        }
    }

    /// A figure, which stands to the right.
    pub(crate) fn figure(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
            to_the_right: true,
        }
    }
}

/// Returns rows of cells as lines with aligned columns.
pub(crate) fn table(rows: &[Vec<Cell>], ink: Ink) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &Cell| cell.text.width();
    let widths = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(length)
                .max()
                .unwrap_or(0)
        })
        .collect::<Vec<_>>();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        let mut pending = 0;
        for (cell, width) in row.iter().zip(&widths) {
            let gap = width - length(cell);
            let (before, after) = if cell.to_the_right {
                (gap, 0)
            } else {
                (0, gap)
            };
            if cell.text.is_empty() {
                pending += before;
            } else {
                line.extend(std::iter::repeat_n(' ', pending + before));
                line.push_str(&ink.paint(cell.tone, &cell.text));
                pending = 0;
            }
            pending += after + 2;
        }
        line.push('\n');
        line
    };
    rows.iter().map(line).collect()
}

/// Returns as much of the text as a terminal shows in this many columns, its last one a mark if that is not all.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(c.width().unwrap_or(0));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let cut: String = text.chars().take_while(fits).collect();
    if columns == 0 { cut } else { cut + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_the_colour() {
        let rows = [
            vec![
                Cell::text("a", Tone::Plain),
                Cell::figure("1", Tone::Bad),
                Cell::text("x", Tone::Plain),
            ],
            vec![
                Cell::text("größe", Tone::Plain),
                Cell::figure("", Tone::Plain),
                Cell::text("y", Tone::Plain),
            ],
            vec![
                Cell::text("b", Tone::Plain),
                Cell::figure("100", Tone::Good),
            ],
        ];
        let plain = table(&rows, Ink { colour: false });
        assert_eq!(plain, "a        1  x\ngröße       y\nb      100\n");
        let coloured = table(&rows, Ink { colour: true });
        assert_ne!(coloured, plain);
        assert_eq!(super::super::clean::printable(&coloured), plain);
    }

    #[test]
    fn texts_are_cut_where_a_terminal_would_cut_them() {
        for (text, columns, expected) in [
            ("halo", 4, "halo"),
            ("halo", 3, "ha…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 1, "…"),
            ("日本語", 0, ""),
            ("e\u{301}e\u{301}e", 2, "e\u{301}…"),
        ] {
            assert_eq!(fitted(text, columns), expected, "{text} in {columns}");
        }
        let wide = [
            vec![
                Cell::text("日本", Tone::Plain),
                Cell::figure("1", Tone::Plain),
            ],
            vec![
                Cell::text("abcd", Tone::Plain),
                Cell::figure("2", Tone::Plain),
            ],
        ];
        assert_eq!(table(&wide, Ink { colour: false }), "日本  1\nabcd  2\n");
    }
}
