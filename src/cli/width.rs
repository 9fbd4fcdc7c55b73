//! How wide a table may be, and text that is folded to fit.
//!
//! Widths are in columns of a terminal. Does not know what a table shows.

/// Columns of a page that is no terminal.
const PAGE: usize = 80;
/// Columns that any table is given: a narrower terminal breaks the lines itself.
const LEAST: usize = 40;

/// Columns for what goes to stdout: as many as `COLUMNS` says, else as the terminal has, else 80.
pub fn columns() -> usize {
    let named = std::env::var("COLUMNS").ok();
    let named = named.and_then(|text| text.trim().parse::<usize>().ok());
    let terminal = || console::Term::stdout().size_checked();
    let found = named.or_else(|| terminal().map(|(_, columns)| usize::from(columns)));
    found.filter(|&n| n > 0).unwrap_or(PAGE).max(LEAST)
}

/// Columns that a text takes.
pub fn of(text: &str) -> usize {
    console::measure_text_width(text)
}

/// The text with blanks after it.
pub fn left(text: &str, columns: usize) -> String {
    format!("{text}{}", blanks(text, columns))
}

/// The text with blanks before it.
pub fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", blanks(text, columns))
}

fn blanks(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(of(text)))
}

/// The text in lines of so many columns at most, parted at blanks; what is longer without a blank is cut into pieces.
/// Lines after the first begin with `indent` blanks.
pub fn fold(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let indent = indent.min(columns.saturating_sub(1));
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    // Whether the line holds more than its indent.
    let mut begun = false;
    for word in text.split(' ') {
        if begun && of(&line) + 1 + of(word) > columns {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        for letter in word.chars() {
            let mut bytes = [0; 4];
            if begun && of(&line) + of(letter.encode_utf8(&mut bytes)) > columns {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            }
            line.push(letter);
            begun = true;
        }
        begun = true;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_asked() {
        assert_eq!(fold("one two three", 80, 2), ["one two three"]);
        assert_eq!(fold("one two three", 7, 2), ["one two", "  three"]);
        assert_eq!(
            fold("one two three", 8, 4),
            ["one two", "    thre", "    e"]
        );
        assert_eq!(fold("abcdefgh", 3, 0), ["abc", "def", "gh"]);
        assert_eq!(fold("", 3, 0), [""]);
        assert_eq!(fold("six 6×28×28 ⌊7⌋", 12, 0), ["six 6×28×28", "⌊7⌋"]);
        // Letters of two columns.
        assert_eq!(fold("層層層", 4, 0), ["層層", "層"]);
    }

    #[test]
    fn nothing_is_lost() {
        let text = "block.層.0  Conv2d(out_channels=6, padding=((1, 2), (3, 4)))";
        let whole: String = text.split_whitespace().collect();
        for columns in 2..80 {
            for indent in [0, 1, 4, 90] {
                let lines = fold(text, columns, indent);
                let joined: String = lines.iter().flat_map(|l| l.split_whitespace()).collect();
                assert_eq!(joined, whole);
            }
        }
    }

    #[test]
    fn cells_are_filled_with_blanks() {
        assert_eq!(left("6×28", 6), "6×28  ");
        assert_eq!(right("6×28", 6), "  6×28");
        assert_eq!(right("long", 2), "long");
    }
}
