//! The form that mandoc(1) asks of a page: short lines, no space at their ends, no empty paragraphs.

/// Bytes on a line.
const WIDTH: usize = 80;

/// Rewrites a page so that `mandoc -T lint` has no findings. `date` is that of its title.
pub(crate) fn tidy(page: &str, date: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut as_it_is = false;
    for line in page.lines() {
        let line = line.trim_end();
        as_it_is = match line {
            ".nf" => true,
            ".fi" => false,
            _ => as_it_is,
        };
        let before = lines.last().map(String::as_str).unwrap_or_default();
        let is_title = before == ".TP";
        let is_gap = line == ".PP" || line == ".br" || line == ".sp";
        // A paragraph begins after a title or a gap by itself.
        if line.is_empty() && !as_it_is {
            continue;
        }
        let is_after_gap = matches!(before, ".PP" | ".sp" | ".br");
        if is_gap && (before.starts_with(".SH") || before.starts_with(".SS") || is_after_gap) {
            continue;
        }
        // … and one that nothing is in is none.
        if (line.starts_with(".SH") || line.starts_with(".SS") || line == ".TP") && before == ".PP" {
            lines.pop();
        }
        if line.starts_with(".TH ") {
            // Neither hyphens nor wide gaps, which are hard to read in 80 columns.
            lines.extend([with_date(line, date), ".nh".to_owned(), ".ad l".to_owned()]);
        } else if is_title || as_it_is || line.starts_with(['.', '\'']) {
            lines.push(line.to_owned());
        } else {
            wrap(line, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

/// `.TH NAME SECTION` takes the date behind these two.
fn with_date(title: &str, date: &str) -> String {
    let mut words: Vec<_> = title.split(' ').collect();
    words.retain(|word| *word != "\"\"");
    words.insert(3, date);
    words.join(" ")
}

/// As mandoc counts it, which reads other characters than ASCII as `\[u2026]`.
fn length(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { "\\[u2026]".len() }).sum()
}

/// Joins words to lines and escapes those that would start a request.
fn wrap(text: &str, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = length(&line) + 1 + length(word) < WIDTH;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        } else if word.starts_with(['.', '\'']) {
            line.push_str("\\&");
        }
        line.push_str(word);
    }
    lines.push(line);
}
