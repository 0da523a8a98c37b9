//! What a snippet has of directives that a location has either all of its own or all of its server's.

/// Returns the fields of requests that a snippet sets itself.
pub(super) fn fields(text: &str) -> Vec<String> {
    let fields = statements(text).filter_map(|words| {
        let is_field = words.first().is_some_and(|word| word.ends_with("_set_header"));
        words.get(1).filter(|_| is_field).map(|name| name.trim_matches(['"', '\'']).to_owned())
    });
    fields.collect()
}

/// Returns whether a snippet has pages for errors.
pub(super) fn has_error_pages(text: &str) -> bool {
    statements(text).any(|words| words.first() == Some(&"error_page"))
}

fn statements(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split([';', '{', '}'])).map(|it| it.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_pages_are_found() {
        let text = "# proxy_set_header A b;\nproxy_set_header Host x; proxy_set_header \"X-B\" y;\nerror_page 404 /x;";
        assert_eq!(fields(text), ["Host", "X-B"]);
        assert!(has_error_pages(text) && !has_error_pages("add_header error_page x;"));
    }
}
