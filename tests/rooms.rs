//! The plan of the house, `docs/architecture.md`, as a test: no room uses a room above it, and no files
//! need each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// Each room and the rooms that it may use, from the ground up. A file directly under `src` is a room of
/// its own. Each loss is a room too, so that no loss uses another one.
const ROOMS: [(&str, &[&str]); 18] = [
    ("error", &[]),
    ("device", &[]),
    ("simd", &[]),
    ("parts", &[]),
    ("reduce", &["device"]),
    ("distance", &["reduce"]),
    ("reads", &["device"]),
    ("schedule", &["error"]),
    ("batch", &["distance", "reduce"]),
    ("centers", &["batch", "device", "reads", "reduce"]),
    (
        "engine",
        &[
            "batch", "centers", "device", "distance", "parts", "reads", "reduce", "simd",
        ],
    ),
    ("neighbors", &["device", "parts", "reduce", "simd"]),
    ("evaluation", &["neighbors"]),
    ("loss", &[]),
    (
        "loss::center",
        &[
            "batch",
            "centers",
            "device",
            "distance",
            "engine",
            "error",
            "neighbors",
            "schedule",
        ],
    ),
    (
        "loss::margin",
        &[
            "batch",
            "centers",
            "distance",
            "engine",
            "error",
            "neighbors",
            "schedule",
        ],
    ),
    (
        "loss::proxy",
        &[
            "batch",
            "centers",
            "distance",
            "engine",
            "error",
            "neighbors",
            "reduce",
        ],
    ),
    ("metric", &["evaluation", "loss::center", "neighbors"]),
];

/// The path of a module from the crate's root: `["batch", "groups"]`.
type Module = Vec<String>;

/// A `use` item or another mention of a path of this crate.
struct Mention {
    target: Vec<String>,
    is_public: bool,
}

#[derive(Default)]
struct Code {
    mentions: BTreeMap<Module, Vec<Mention>>,
    /// What a module hands on from elsewhere: module and name, and the path that it stands for.
    exports: BTreeMap<(Module, String), Vec<String>>,
}

impl Code {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut code = Self::default();
        code.read_module(&root.join("lib.rs"), vec![]);
        assert!(code.mentions.len() > 50, "{} modules", code.mentions.len());
        code
    }

    /// Reads a file and the files of its child modules; those of tests alone are left out.
    fn read_module(&mut self, file: &Path, module: Module) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let mut reader = Reader {
            module: &module,
            mentions: vec![],
            names: vec![],
            children: vec![],
        };
        for item in &syntax.items {
            reader.visit_item(item);
        }
        let Reader {
            mentions,
            names,
            children,
            ..
        } = reader;
        for (name, target) in names {
            self.exports.insert((module.clone(), name), target);
        }
        self.mentions.insert(module.clone(), mentions);
        for child in children {
            let path = [module.clone(), vec![child]].concat();
            self.read_module(&file_of(&path), path);
        }
    }

    /// The module that defines what a path names, found through re-exports.
    fn home(&self, target: &[String]) -> Module {
        let mut target = target.to_vec();
        loop {
            let length = (0..=target.len())
                .rev()
                .find(|length| self.mentions.contains_key(&target[..*length]));
            let (module, rest) = target.split_at(length.unwrap_or(0));
            let exported = rest
                .first()
                .and_then(|name| self.exports.get(&(module.to_vec(), name.clone())));
            match exported {
                Some(exported) if exported[..] != target[..] => {
                    target = [exported, &rest[1..]].concat();
                }
                _ => return module.to_vec(),
            }
        }
    }

    /// The modules that each module needs. Handing on what a child defines is no need.
    fn needs(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut needs = BTreeMap::new();
        for (module, mentions) in &self.mentions {
            let needed: BTreeSet<Module> = mentions
                .iter()
                .map(|mention| (self.home(&mention.target), mention.is_public))
                .filter(|(home, is_public)| {
                    home != module && !(*is_public && home.starts_with(module))
                })
                .map(|(home, _)| home)
                .collect();
            needs.insert(module.clone(), needed);
        }
        needs
    }
}

fn file_of(module: &[String]) -> PathBuf {
    let mut path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.extend(module);
    let file = path.with_extension("rs");
    if file.exists() {
        file
    } else {
        path.join("mod.rs")
    }
}

/// Collects what one file mentions.
struct Reader<'a> {
    module: &'a [String],
    mentions: Vec<Mention>,
    names: Vec<(String, Vec<String>)>,
    children: Vec<String>,
}

impl Reader<'_> {
    /// A path from the crate's root; `None` for a path of another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = self.module.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => return Some(path[1..].to_vec()),
            Some("self" | "super") => {}
            Some(name) if self.children.iter().any(|child| child == name) => {}
            _ => return None,
        }
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => {
                    base.pop();
                }
                _ => break,
            }
            rest = others;
        }
        Some([&base, rest].concat())
    }

    fn mention(&mut self, path: &[String], is_public: bool) {
        if let Some(target) = self.absolute(path) {
            self.mentions.push(Mention { target, is_public });
        }
    }

    fn leaves(&mut self, tree: &UseTree, path: &mut Vec<String>, is_public: bool) {
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.leaves(&tree.tree, path, is_public);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.leaves(tree, path, is_public);
                }
            }
            UseTree::Name(name) => self.leaf(path, &name.ident.to_string(), None, is_public),
            UseTree::Rename(name) => {
                let alias = Some(name.rename.to_string());
                self.leaf(path, &name.ident.to_string(), alias, is_public);
            }
            UseTree::Glob(_) => self.mention(path, is_public),
        }
    }

    fn leaf(&mut self, path: &[String], name: &str, alias: Option<String>, is_public: bool) {
        let mut path = path.to_vec();
        if name != "self" {
            path.push(name.to_string());
        }
        self.mention(&path, is_public);
        if let (true, Some(target)) = (is_public, self.absolute(&path)) {
            self.names
                .push((alias.unwrap_or_else(|| name.to_string()), target));
        }
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| word == "test")
        }
        _ => false,
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(item) if is_of_tests(&item.attrs) => {}
            Item::Mod(item) if item.content.is_none() => self.children.push(item.ident.to_string()),
            Item::Use(item) if is_of_tests(&item.attrs) => {}
            Item::Use(item) => {
                let is_public = !matches!(item.vis, Visibility::Inherited);
                self.leaves(&item.tree, &mut vec![], is_public);
            }
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.mention(&segments, false);
        }
        syn::visit::visit_path(self, path);
    }
}

/// The room of a module: the first part of its path, and for a loss the first two.
fn room(module: &[String]) -> String {
    match module {
        [loss, name, ..] if loss == "loss" => format!("{loss}::{name}"),
        [room, ..] => room.clone(),
        [] => String::new(),
    }
}

#[test]
fn no_room_uses_a_room_above_it() {
    for (floor, (name, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            let below = ROOMS[..floor].iter().any(|(below, _)| below == used);
            assert!(below, "{used} is not below {name}");
        }
    }
    let mut wrong = vec![];
    for (module, needed) in Code::read().needs() {
        let own = room(&module);
        // The crate's root hands on from everywhere and holds no logic; so does the room of all losses.
        if own.is_empty() || own == "loss" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == own) else {
            panic!("{own} is no room: add it to ROOMS and to docs/architecture.md");
        };
        for other in needed {
            let there = room(&other);
            if there != own && !allowed.contains(&there.as_str()) {
                wrong.push(format!("{} uses {}", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_need_each_other_in_a_circle() {
    let mut needs = Code::read().needs();
    // What needs nothing is in no circle; taken away again and again, it leaves the circles.
    loop {
        let done: Vec<Module> = needs
            .iter()
            .filter(|(_, needed)| needed.iter().all(|other| !needs.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if done.is_empty() {
            break;
        }
        for module in done {
            needs.remove(&module);
        }
    }
    let circle: Vec<String> = needs.keys().map(|module| module.join("::")).collect();
    assert!(circle.is_empty(), "in a circle, or above one: {circle:#?}");
}

/// The files of a directory and of those in it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).expect("a directory of the sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Burn's own ones are wrong under its fusion, see `src/reduce/apart.rs`. Integers are not concerned.
#[test]
fn sums_and_maxima_along_a_dimension_are_those_of_reduce() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = vec![];
    for file in files(&source) {
        if file.starts_with(source.join("reduce")) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            let is_one = [".sum_dim(", ".max_dim(", ".mean_dim(", ".prod_dim("]
                .iter()
                .any(|call| line.contains(call));
            if is_one && !line.contains(".int().sum_dim(") {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
