//! Files that docs/how-to shows and examples/ has: they are written once, in examples/.

use std::fs;
use std::path::Path;

/// Replaces the content of each fenced block that begins with `# file: PATH`, if examples/ has that file.
fn with_examples(page: &str, examples: &Path, count: &mut usize) -> String {
    let mut parts = page.split("\n```");
    let mut text = parts.next().expect("the text before the first block").to_owned();
    for (index, part) in parts.enumerate() {
        text += "\n```";
        let shown = part.split_once("\n# file: ").filter(|(language, _)| index % 2 == 0 && !language.contains('\n'));
        let path = shown.map(|(language, rest)| (language, rest.lines().next().unwrap_or_default()));
        let file = path.and_then(|(language, path)| {
            Some(format!("{language}\n# file: {path}\n{}", fs::read_to_string(examples.join(path)).ok()?.trim_end()))
        });
        *count += usize::from(file.is_some());
        text += file.as_deref().unwrap_or(part);
    }
    text
}

#[test]
fn pages_show_the_examples_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for page in fs::read_dir(root.join("docs/how-to")).expect("docs/how-to") {
        let path = page.expect("an entry").path();
        let page = fs::read_to_string(&path).expect("a page");
        let expected = with_examples(&page, &root.join("examples"), &mut count);
        if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            fs::write(&path, &expected).expect("a page");
        } else {
            assert!(page == expected, "INSTA_UPDATE=always cargo test writes {}", path.display());
        }
    }
    assert!(count >= 12, "{count} files");
}
