//! The plan of the house, `docs/architecture.md`, as a test: no room uses a room that its table does not allow, and no
//! files need each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Expr, ExprMethodCall, Item, UseTree, Visibility};

/// Each room and the rooms that it may use, from the ground up: the table of the document. A file directly under `src`
/// is a room of its own, and so is each loss, so that no loss uses another one.
fn rooms() -> Vec<(String, Vec<String>)> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = fs::read_to_string(&document).expect("the document of the rooms");
    let (_, table) = text
        .split_once("| room | may use |")
        .expect("the table of the rooms");
    let names = |cell: &str| -> Vec<String> {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(|name| name.replace('/', "::")).collect()
    };
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rooms = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let uses = names(cells[2]);
        names(cells[1])
            .into_iter()
            .map(move |name| (name, uses.clone()))
    });
    rooms.collect()
}

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
fn rooms_use_what_the_table_allows_and_nothing_else() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "{rooms:?}");
    for (floor, (name, uses)) in rooms.iter().enumerate() {
        for used in uses {
            let is_below = rooms[..floor].iter().any(|(below, _)| below == used);
            assert!(is_below, "{used} is not below {name}");
        }
    }
    let (mut wrong, mut found) = (vec![], BTreeSet::new());
    for (module, needed) in Code::read().needs() {
        let own = room(&module);
        // The crate's root hands on from everywhere and holds no logic; so does the room of all losses.
        if own.is_empty() || own == "loss" {
            continue;
        }
        let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == own) else {
            panic!("{own} is no room: add it to the table of docs/architecture.md");
        };
        for other in needed {
            let there = room(&other);
            if there != own && !allowed.contains(&there) {
                wrong.push(format!("{} uses {}", module.join("::"), other.join("::")));
            }
            found.insert((own.clone(), there));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut unused = vec![];
    for (name, uses) in &rooms {
        let is_unused = |used: &&String| !found.contains(&(name.clone(), (*used).clone()));
        unused.extend(
            uses.iter()
                .filter(is_unused)
                .map(|used| format!("{name} may use {used}")),
        );
    }
    assert!(unused.is_empty(), "permissions without a user: {unused:#?}");
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

/// Source files by their path under `src`, without those of tests alone.
fn sources() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let relative = |file: &Path| {
        let path = file.strip_prefix(&source).expect("a file of the sources");
        path.to_str().expect("a name in UTF-8").replace('\\', "/")
    };
    let files = files(&source)
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs"));
    files
        .map(|file| {
            (
                relative(&file),
                fs::read_to_string(&file).expect("a source file"),
            )
        })
        .collect()
}

/// Calls of reductions along a dimension in one file.
#[derive(Default)]
struct Reductions(Vec<String>);

impl<'ast> Visit<'ast> for Reductions {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(item) if is_of_tests(&item.attrs) => {}
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        const NAMES: [&str; 14] = [
            "sum_dim",
            "max_dim",
            "min_dim",
            "mean_dim",
            "prod_dim",
            "sum_dims",
            "mean_dims",
            "max_dim_with_indices",
            "min_dim_with_indices",
            "max_abs_dim",
            "var",
            "var_mean",
            "cumsum",
            "topk",
        ];
        let name = call.method.to_string();
        let is_of_integers = match &*call.receiver {
            Expr::MethodCall(receiver) => receiver.method == "int",
            _ => false,
        };
        if NAMES.contains(&name.as_str()) && !is_of_integers {
            self.0.push(name);
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}

/// Burn's own ones are wrong under its fusion, see `src/reduce.rs`. Integers are not concerned, nor files that run on
/// the host alone.
#[test]
fn reductions_along_a_dimension_are_those_of_reduce() {
    let mut wrong = vec![];
    for (path, text) in sources() {
        let is_host = path.starts_with("host/") || path == "softmax/host.rs";
        if is_host || path == "reduce.rs" {
            continue;
        }
        let mut found = Reductions::default();
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        file.items.iter().for_each(|item| found.visit_item(item));
        // Softmax and its logarithm reduce as well.
        if text.contains("activation::") {
            found.0.push("activation".into());
        }
        wrong.extend(found.0.into_iter().map(|name| format!("{path}: {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One place decides which path serves a device; the paths themselves are built with their backends.
#[test]
fn features_of_backends_are_named_below_the_losses() {
    const FILES: [&str; 15] = [
        "device.rs",
        "backward.rs",
        "loops.rs",
        "reads.rs",
        "lib.rs",
        "batch/mod.rs",
        "centers/normalization.rs",
        "softmax/mod.rs",
        "softmax/distances.rs",
        "softmax/host.rs",
        "softmax/pass.rs",
        "loss/center/center_loss.rs",
        "neighbors/product.rs",
        "neighbors/rows.rs",
        "neighbors/search.rs",
    ];
    let mut wrong = vec![];
    for (path, text) in sources() {
        if FILES.contains(&path.as_str()) || path.starts_with("host/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let is_named = ["flex", "ndarray", "wgpu", "remote"]
                .iter()
                .any(|backend| line.contains(&format!("feature = \"{backend}\"")));
            if is_named && !line.contains("cfg(all(test") {
                wrong.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
