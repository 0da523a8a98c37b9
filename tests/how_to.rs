//! Files that docs/how-to shows: those that examples/ has are written once, there, and declarations of the pages about other
//! proxies compile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use camino::Utf8Path;
use conductor::compile;
use conductor::layout::Layout;
use conductor::target::systemd::Units;

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

/// Declares what a page shows below a root, beside the files that its declarations name; returns how many there are.
fn declare(page: &str, root: &Utf8Path) -> usize {
    let blocks = page.split("\n```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("toml\n"));
    let mut count = 0;
    for block in blocks {
        let named = block.strip_prefix("# file: ").and_then(|rest| rest.split_once('\n'));
        let (path, text) = named.unwrap_or_else(|| panic!("a block without `# file: PATH`:\n{block}"));
        let path = root.join("etc/conductor/services").join(path);
        let dir = path.parent().expect("a service's directory");
        fs::create_dir_all(dir.join("public/packs")).expect("a directory");
        fs::write(dir.join("public/packs/a.js"), "").expect("a file");
        fs::write(&path, text).expect("a declaration");
        fs::write(dir.join("server"), "#!/bin/sh\n").expect("a program");
        fs::set_permissions(dir.join("server"), fs::Permissions::from_mode(0o755)).expect("its mode");
        count += 1;
    }
    count
}

#[test]
fn sites_of_other_proxies_compile() {
    let how_to = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to");
    let read = |name: &str| fs::read_to_string(how_to.join(name)).expect("a page");
    let figures = read("from-nginx.md");
    for (proxy, name) in [("nginx", "from-nginx.md"), ("Caddy", "from-caddy.md"), ("HAProxy", "from-haproxy.md")] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        let count = declare(&read(name), root);
        let host = compile::compile(&Layout::system(root), &Units(Some(252)));
        let errors: Vec<_> = host.errors.values().map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n"));
        assert!(host.services.len() >= count, "{name}: {} of {count} services", host.services.len());
        let row = format!("| {proxy} | {count} |");
        assert!(figures.contains(&row), "{name}: the table of the sites has no row {row:?}");
    }
}
