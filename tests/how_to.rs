//! Files that docs/ shows: those that examples/ has are written once, there, and declarations compile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

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

/// Copies a directory of examples/, whose other files a page does not show.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("an example") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a file");
        }
    }
}

/// Writes the files of a page, with the example that they are of; returns the directories of its services.
fn write_files(page: &str, dir: &Path) -> BTreeSet<String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut services = BTreeSet::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let file = block.split_once("\n# file: ").and_then(|(_, rest)| rest.split_once('\n'));
        let Some((path, text)) = file.filter(|(path, _)| !path.starts_with('/')) else { continue };
        let name = path.split('/').next().expect("a name");
        if examples.join(name).is_dir() && !dir.join(name).exists() {
            copy(&examples.join(name), &dir.join(name));
        }
        let file = dir.join(path);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its mode");
        services.extend(path.strip_suffix("/service.toml").map(str::to_owned));
    }
    services
}

/// Creates what a declaration names with `./` and commands of the page would build.
fn create_missing(dir: &Path, declaration: &str) {
    let named = declaration.split('"').filter_map(|text| text.strip_prefix("./"));
    for name in named.map(|name| name.split(':').next().expect("a path")) {
        let path = dir.join(name);
        if !path.exists() {
            if declaration.contains(&format!("static = \"./{name}\"")) {
                fs::create_dir_all(&path).expect("a directory");
                continue;
            }
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(&path, "").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
    }
}

/// Returns the variables of a declaration's templates, each with a value.
fn variables(dir: &Path) -> BTreeSet<String> {
    let mut variables = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a declaration") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.ends_with("service.toml") || path.extension().is_some_and(|extension| extension == "j2") {
                let text = fs::read_to_string(&path).expect("a template");
                let names = text.split("{{ ").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap_or_default());
                variables.extend(names.filter(|name| !name.is_empty()).map(|name| format!("{name}=1")));
            }
        }
    }
    variables
}

/// The pages about other proxies have tests of their own.
#[test]
fn declarations_of_pages_compile() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = [docs.clone(), docs.join("how-to")].map(|dir| fs::read_dir(dir).expect("docs/"));
    let mut count = 0;
    for page in pages.into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        if ["from-nginx.md", "from-caddy.md", "from-haproxy.md"].contains(&name.as_str()) || !name.ends_with(".md") {
            continue;
        }
        let scratch = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir(scratch.path().join("root")).expect("a directory");
        for service in write_files(&fs::read_to_string(&page).expect("a page"), scratch.path()) {
            let dir = scratch.path().join(&service);
            create_missing(&dir, &fs::read_to_string(dir.join("service.toml")).expect("a declaration"));
            let mut explain = Command::new(env!("CARGO_BIN_EXE_conductor"));
            explain.arg("--root").arg(scratch.path().join("root")).arg("explain").arg(&dir).args(variables(&dir));
            let output = explain.output().expect("conductor");
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            count += 1;
        }
    }
    assert!(count >= 30, "{count} declarations");
}
