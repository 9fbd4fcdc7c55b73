//! Lines of printed text, none wider than a page: what every stage of a compilation is printed by.
//!
//! Does not know what is printed.

/// Columns that a line has at most, where it has a space to be broken at.
pub const WIDTH: usize = 120;
/// Columns of a line of a message.
pub const MESSAGE: usize = 80;
/// Columns that a continued line keeps for its text, however far in it starts.
const KEPT: usize = 60;

/// Breaks a line at spaces so that none of its lines is wider than [`WIDTH`]; each but the first starts with `rest`.
/// A word alone may be wider. A trailing newline is no part of the line.
pub fn wrap(line: &str, rest: &str) -> String {
    wrap_to(WIDTH, line, rest)
}

/// The same for lines of another width, above 60.
pub fn wrap_to(width: usize, line: &str, rest: &str) -> String {
    if line.chars().count() <= width {
        return line.into();
    }
    let start = line.len() - line.trim_start().len();
    let (indent, text) = line.split_at(start);
    let mut out = String::from(indent);
    let mut used = indent.chars().count();
    let rest: String = match rest.chars().count() > width - KEPT {
        true => rest.chars().take(width - KEPT).collect(),
        false => rest.into(),
    };
    for (k, piece) in pieces(text).into_iter().enumerate() {
        let len = piece.text.chars().count();
        if k > 0 && used + usize::from(piece.spaced) + len > width {
            out.push('\n');
            out.push_str(&rest);
            used = rest.chars().count();
        } else if piece.spaced {
            out.push(' ');
            used += 1;
        }
        out.push_str(piece.text);
        used += len;
    }
    out
}

/// What is not broken.
struct Piece<'a> {
    text: &'a str,
    /// Whether a space stands before it.
    spaced: bool,
}

/// Words; those that would not fit where a continued line starts are cut behind their opening parentheses, but for that
/// of `nan(…)`, which is a number.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    for (k, word) in text.split(' ').enumerate() {
        let mut spaced = k > 0;
        let mut rest = word;
        while rest.chars().count() > KEPT {
            let cut = rest.match_indices('(').map(|(at, _)| at + 1);
            let Some(at) = cut.into_iter().find(|&at| !rest[..at].ends_with("nan(")) else {
                break;
            };
            let (text, more) = rest.split_at(at);
            out.push(Piece { text, spaced });
            (rest, spaced) = (more, false);
        }
        out.push(Piece { text: rest, spaced });
    }
    out
}

/// Lines of a comment, each behind `mark`, as `#` or `//`; what is continued stands four columns further in.
pub fn comment(mark: &str, text: &str) -> String {
    let wrapped = text
        .lines()
        .map(|line| wrap(&format!("{mark} {line}"), &format!("{mark}     ")) + "\n");
    wrapped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_page_and_every_word_stays() {
        let words: Vec<String> = (0..200).map(|k| format!("word{k}")).collect();
        let line = format!("    {}", words.join(" "));
        let wrapped = wrap(&line, "            ");
        assert!(wrapped.lines().all(|l| l.chars().count() <= WIDTH));
        assert!(
            wrapped
                .lines()
                .skip(1)
                .all(|l| l.starts_with("            word"))
        );
        assert!(wrapped.split_whitespace().eq(line.split_whitespace()));
    }

    #[test]
    fn a_line_that_fits_stays_as_it_is() {
        let line = "x".repeat(WIDTH);
        assert_eq!(wrap(&line, "  "), line);
        let wide = "x".repeat(WIDTH + 1);
        assert_eq!(wrap(&wide, "  "), wide, "a word is not broken");
        let nested =
            "x = ".to_string() + &"sigmoid(".repeat(50) + "nan(7fc00000)" + &")".repeat(50);
        let wrapped = wrap(&nested, "    ");
        assert!(wrapped.lines().count() > 3 && wrapped.lines().all(|l| l.chars().count() <= WIDTH));
        assert_eq!(wrapped.replace("\n    ", ""), nested, "{wrapped}");
    }

    #[test]
    fn a_line_far_in_leaves_room_for_its_text() {
        let far = " ".repeat(100);
        let line = format!("{far}{}", "word ".repeat(20).trim_end());
        let wrapped = wrap(&line, &format!("{far}        "));
        assert!(
            wrapped.lines().all(|l| l.chars().count() <= WIDTH),
            "{wrapped}"
        );
    }

    #[test]
    fn every_line_of_a_comment_is_one() {
        let text = format!("short\n{}", "word ".repeat(60));
        let lines = comment("//", &text);
        assert!(lines.lines().count() > 3);
        assert!(
            lines
                .lines()
                .all(|l| l.starts_with("// ") && l.chars().count() <= WIDTH)
        );
    }
}
