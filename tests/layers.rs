//! Data flows one way: `src/lib.rs` lists the layers in order, a module imports only from those above its own, and no two
//! files import each other, directly or over others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use syn::visit::{self, Visit};

/// A module's path below the crate: `["service", "plan"]`.
type Module = Vec<String>;

/// The imports of one file.
struct Imports<'a> {
    modules: &'a BTreeSet<Module>,
    here: Module,
    found: BTreeSet<Module>,
}

impl Imports<'_> {
    /// Takes a path down if it leads to a module of this crate.
    fn take(&mut self, segments: &[String]) {
        let Some(absolute) = self.absolute(segments) else { return };
        let target = (0..=absolute.len()).rev().map(|length| &absolute[..length]);
        let target = target.into_iter().find(|path| self.modules.contains(*path));
        if let Some(target) = target.filter(|target| *target != self.here && !target.is_empty()) {
            self.found.insert(target.to_vec());
        }
    }

    fn absolute(&self, segments: &[String]) -> Option<Module> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([self.here.clone(), rest.to_vec()].concat()),
            "super" => {
                let ups = segments.iter().take_while(|segment| *segment == "super").count();
                let base = self.here.len().checked_sub(ups)?;
                Some([self.here[..base].to_vec(), segments[ups..].to_vec()].concat())
            }
            // `use child::Item` beside `mod child`.
            _ => Some([self.here.clone(), segments.to_vec()].concat())
                .filter(|path| self.modules.contains(&path[..self.here.len() + 1])),
        }
    }

    fn take_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.take_tree(&[before, &[path.ident.to_string()]].concat(), &path.tree),
            syn::UseTree::Name(name) => self.take(&[before, &[name.ident.to_string()]].concat()),
            syn::UseTree::Rename(name) => self.take(&[before, &[name.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.take(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 && matches!(segments[0].as_str(), "crate" | "super" | "self") {
            self.take(&segments);
        }
        visit::visit_path(self, path);
    }

    /// Macros' arguments are tokens: paths in them are found as text.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let text = called.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            if word.starts_with("crate::") || word.starts_with("super::") {
                self.take(&word.split("::").map(str::to_owned).collect::<Vec<_>>());
            }
        }
        visit::visit_macro(self, called);
    }

    /// Tests of a module may look at anything.
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        });
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }
}

fn rust_files(dir: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
    for entry in dir.read_dir_utf8().expect("a directory of sources").map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            rust_files(entry.path(), found);
        } else if entry.path().extension() == Some("rs") {
            found.push(entry.path().to_owned());
        }
    }
}

/// What each module of the library imports.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let src = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let module = |file: &Utf8PathBuf| -> Module {
        let path = file.strip_prefix(&src).unwrap().with_extension("");
        path.components().map(|part| part.as_str().to_owned()).filter(|part| part != "lib").collect()
    };
    let is_test = |file: &Utf8PathBuf| matches!(file.file_name(), Some("tests.rs" | "main.rs"));
    files.retain(|file| !is_test(file));
    let modules: BTreeSet<Module> = files.iter().map(module).collect();
    let read = |file: &Utf8PathBuf| {
        let parsed =
            syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut imports = Imports { modules: &modules, here: module(file), found: BTreeSet::new() };
        imports.visit_file(&parsed);
        (module(file), imports.found)
    };
    files.iter().map(read).collect()
}

/// The layers as `src/lib.rs` lists them.
fn layers() -> Vec<String> {
    let path = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let parsed = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
    let modules = parsed.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.collect()
}

#[test]
fn modules_import_only_from_layers_above_their_own() {
    let layers = layers();
    let place = |module: &Module| layers.iter().position(|layer| *layer == module[0]).expect("lib.rs lists it");
    let mut against = Vec::new();
    let mut count = 0;
    for (module, imports) in imports().iter().filter(|(module, _)| !module.is_empty()) {
        for import in imports {
            count += 1;
            if place(import) > place(module) {
                against.push(format!("{} imports {}", module.join("::"), import.join("::")));
            }
        }
    }
    assert!(count > 300, "the test has found {count} imports only");
    assert!(against.is_empty(), "against the order of src/lib.rs:\n{}", against.join("\n"));
}

/// What a module imports, directly and over others.
fn reached<'a>(imports: &'a BTreeMap<Module, BTreeSet<Module>>, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = imports[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(&imports[module]);
        }
    }
    reached
}

#[test]
fn no_files_import_each_other() {
    let imports = imports();
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(&imports, module))).collect();
    let in_cycle = imports.keys().filter(|module| reached[module].contains(module));
    let lines: Vec<_> = in_cycle
        .map(|module| {
            let back = imports[module].iter().filter(|import| reached[import].contains(module));
            let back: Vec<_> = back.map(|import| import.join("::")).collect();
            format!("{} -> {}", module.join("::"), back.join(", "))
        })
        .collect();
    assert!(lines.is_empty(), "files that import each other:\n{}", lines.join("\n"));
}
