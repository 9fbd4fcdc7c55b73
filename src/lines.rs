//! Lines of printed text, none wider than a page: what every stage of a compilation is printed by.
//!
//! Does not know what is printed.

/// Columns that a line has at most, where it has a space to be broken at.
pub const WIDTH: usize = 120;
/// Columns that a continued line keeps for its text, however far in it starts.
const KEPT: usize = 60;

/// Breaks a line at spaces so that none of its lines is wider than [`WIDTH`]; each but the first starts with `rest`.
/// A word alone may be wider. A trailing newline is no part of the line.
pub fn wrap(line: &str, rest: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.into();
    }
    let start = line.len() - line.trim_start().len();
    let (indent, text) = line.split_at(start);
    let mut out = String::from(indent);
    let mut used = indent.chars().count();
    let rest: String = match rest.chars().count() > WIDTH - KEPT {
        true => rest.chars().take(WIDTH - KEPT).collect(),
        false => rest.into(),
    };
    let mut first = true;
    for word in text.split(' ') {
        let len = word.chars().count();
        if first {
            first = false;
        } else if used + 1 + len > WIDTH {
            out.push('\n');
            out.push_str(&rest);
            used = rest.chars().count();
        } else {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += len;
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
