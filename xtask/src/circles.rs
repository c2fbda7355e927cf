//! Finds circles between the files of a crate: files that use each other, directly or through others.
//!
//! A file uses another when it names something of it: in a `use`, or by a path that begins with `crate`, `super`, `self`
//! or a module that it declares. A re-export (`pub use child::Item`) is no use of the child; a file that takes the item from
//! there uses the child. What only tests compile does not count. Paths inside `mod x { … }` are read as the file's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Token, tokens};

/// The files of a crate by their paths below `src`, such as `run/mod.rs`, with their text.
pub(crate) type Files = BTreeMap<String, String>;

/// A circle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// The files in it, sorted.
    pub(crate) files: Vec<String>,
    /// Who uses what of whom, within the circle.
    pub(crate) uses: Vec<String>,
}

/// A path such as `crate::a::B`, from the crate's root.
type Path = Vec<String>;

struct File {
    module: Path,
    /// Names that it passes on, and where they come from.
    passed_on: BTreeMap<String, Path>,
    used: BTreeSet<Path>,
}

/// The circles of a crate.
pub(crate) fn circles(files: &Files) -> Vec<Circle> {
    let read: BTreeMap<&str, File> = files.iter().map(|(name, text)| (name.as_str(), File::read(name, text))).collect();
    let modules: BTreeMap<&[String], &str> = read.iter().map(|(name, file)| (file.module.as_slice(), *name)).collect();
    let mut edges: BTreeMap<&str, BTreeMap<&str, &Path>> = BTreeMap::new();
    for (name, file) in &read {
        let used = edges.entry(name).or_default();
        for path in &file.used {
            if let Some(target) = resolve(path, &read, &modules, 0).filter(|target| target != name) {
                used.entry(target).or_insert(path);
            }
        }
    }
    components(&edges)
        .into_iter()
        .map(|files| {
            let inside = files.iter().flat_map(|from| edges[from].iter().map(move |(to, path)| (from, to, path)));
            let uses = inside
                .filter(|(_, to, _)| files.contains(*to))
                .map(|(from, _, path)| format!("{from} uses {}", path.join("::")))
                .collect();
            Circle { files: files.iter().map(|file| (*file).to_owned()).collect(), uses }
        })
        .collect()
}

/// The file in which the thing at a path is, if it is this crate's.
fn resolve<'f>(
    path: &[String],
    files: &BTreeMap<&'f str, File>,
    modules: &BTreeMap<&[String], &'f str>,
    depth: usize,
) -> Option<&'f str> {
    let (file, rest) = (0..=path.len()).rev().find_map(|end| Some((*modules.get(&path[..end])?, &path[end..])))?;
    match rest.first().and_then(|name| files[file].passed_on.get(name)) {
        // A module may pass a name on that it was passed itself; more than a few steps are a circle of their own.
        Some(origin) if depth < 8 => resolve(origin, files, modules, depth + 1),
        _ => Some(file),
    }
}

impl File {
    fn read(name: &str, text: &str) -> File {
        let mut module: Path = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        let tokens = tokens(text);
        let children = declared(&tokens);
        let mut file = File { module, passed_on: BTreeMap::new(), used: BTreeSet::new() };
        let mut at = 0;
        while at < tokens.len() {
            let is_path_start = at == 0 || !tokens[at - 1].is(':') && !tokens[at - 1].is('.');
            match tokens[at].word() {
                Some("use") => {
                    let end = tokens[at..].iter().position(|token| token.is(';')).map_or(tokens.len(), |end| at + end);
                    file.take_use(&tokens[at + 1..end], &children, passes_on(&tokens[..at]));
                    at = end;
                }
                Some(_) if is_path_start && tokens.get(at + 1).is_some_and(|token| token.is(':')) => {
                    let path = inline(&tokens[at..]);
                    if path.len() > 1
                        && let Some(path) = file.rooted(&path, &children)
                    {
                        file.used.insert(path);
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        file
    }

    fn take_use(&mut self, tree: &[Token], children: &BTreeSet<String>, is_passed_on: bool) {
        for (path, name) in leaves(tree) {
            let Some(path) = self.rooted(&path, children) else { continue };
            if is_passed_on && name != "*" && path.starts_with(&self.module) {
                self.passed_on.insert(name, path);
            } else {
                self.used.insert(path);
            }
        }
    }

    /// The path from the crate's root, if it leads into this crate.
    fn rooted(&self, path: &[String], children: &BTreeSet<String>) -> Option<Path> {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (Path::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child if children.contains(child) => {}
            _ => return None,
        }
        base.extend(rest.iter().filter(|word| *word != "self" && *word != "*").cloned());
        Some(base)
    }
}

/// Whether the `use` behind these tokens has `pub` in front.
fn passes_on(before: &[Token]) -> bool {
    match before.last() {
        Some(Token::Word(word)) => word == "pub",
        Some(Token::Sign(')')) => {
            let open = before.iter().rposition(|token| token.is('('));
            open.is_some_and(|open| open > 0 && before[open - 1].word() == Some("pub"))
        }
        _ => false,
    }
}

/// The modules that a file declares.
fn declared(tokens: &[Token]) -> BTreeSet<String> {
    let of = |three: &[Token]| match three {
        [Token::Word(word), Token::Word(name), Token::Sign(';')] if word == "mod" => Some(name.clone()),
        _ => None,
    };
    tokens.windows(3).filter_map(of).collect()
}

/// The path that begins here: words with `::` between them.
fn inline(tokens: &[Token]) -> Path {
    let mut path = Path::new();
    let mut at = 0;
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        path.push(word.to_owned());
        if !(tokens.get(at + 1).is_some_and(|token| token.is(':'))
            && tokens.get(at + 2).is_some_and(|token| token.is(':')))
        {
            break;
        }
        at += 3;
    }
    path
}

/// The paths of a `use`, each with the name it brings.
fn leaves(tree: &[Token]) -> Vec<(Path, String)> {
    let (mut path, mut at) = (Path::new(), 0);
    while let Some(token) = tree.get(at) {
        match token {
            Token::Word(word) if word == "as" => {
                let name = tree.get(at + 1).and_then(Token::word).unwrap_or("_").to_owned();
                return vec![(path, name)];
            }
            Token::Word(word) => path.push(word.clone()),
            Token::Sign('*') => path.push("*".to_owned()),
            Token::Sign('{') => {
                let inside = &tree[at + 1..tree.len().saturating_sub(1)];
                let branches = split(inside).into_iter().flat_map(leaves);
                return branches
                    .map(|(branch, name)| {
                        let name = if name == "self" { path.last().cloned().unwrap_or(name) } else { name };
                        (path.iter().cloned().chain(branch).collect(), name)
                    })
                    .collect();
            }
            Token::Sign(_) => {}
        }
        at += 1;
    }
    let name = path.last().cloned();
    name.map(|name| (path, name)).into_iter().collect()
}

/// The branches between commas, whole braces among them.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut branches, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth = depth.saturating_sub(1),
            Token::Sign(',') if depth == 0 => {
                branches.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tokens[begin..]);
    branches.retain(|branch| !branch.is_empty());
    branches
}

/// The strongly connected components of more than one file.
fn components<'f>(edges: &BTreeMap<&'f str, BTreeMap<&'f str, &Path>>) -> Vec<BTreeSet<&'f str>> {
    let reachable = |from: &'f str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            let next = edges.get(file).into_iter().flat_map(BTreeMap::keys);
            open.extend(next.filter(|next| seen.insert(**next)));
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reachable(file))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (file, seen) in reached.iter().filter(|(file, seen)| seen.contains(**file)) {
        if !found.iter().any(|component| component.contains(file)) {
            found.push(seen.iter().copied().filter(|other| reached[other].contains(file)).collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let files: Files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let found: Vec<Vec<String>> = circles(&files).into_iter().map(|circle| circle.files).collect();
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let root = ("lib.rs", "mod a;\nmod b;\nmod c;");
        check(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c;"), ("c.rs", "")], &[]);
        check(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { crate::a::g(); }")], &[&["a.rs", "b.rs"]]);
        check(
            &[root, ("a.rs", "use super::b;"), ("b.rs", "use crate::{c::{self, C}};"), ("c.rs", "use crate::a::*;")],
            &[&["a.rs", "b.rs", "c.rs"]],
        );
        check(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")], &[]);
        check(&[root, ("a.rs", "// crate::b::B"), ("b.rs", "use crate::a::A;")], &[]);
    }

    #[test]
    fn a_parent_that_declares_and_passes_on_uses_nothing() {
        let (a, b) = (("x/a.rs", "use super::B;"), ("x/b.rs", ""));
        check(&[("x/mod.rs", "mod a;\nmod b;\npub use a::A;\npub(crate) use self::b::B;"), a, b], &[]);
        // What is taken from the parent comes from the child.
        let b = ("x/b.rs", "use super::A as Other;");
        check(&[("x/mod.rs", "mod a;\nmod b;\npub use a::A;\npub use b::{B, C};"), a, b], &[&["x/a.rs", "x/b.rs"]]);
    }

    #[test]
    fn a_parent_that_uses_a_child_which_uses_it_is_a_circle() {
        let child = ("x/a.rs", "use super::Own;\npub fn f(_: Own) {}");
        check(&[("x/mod.rs", "mod a;\npub struct Own;"), child], &[]);
        let circle: &[&[&str]] = &[&["x/a.rs", "x/mod.rs"]];
        check(&[("x/mod.rs", "mod a;\npub struct Own;\nfn g() { a::f(Own) }"), child], circle);
        check(&[("x.rs", "mod a;\nuse a::f;\npub struct Own;"), child], &[&["x.rs", "x/a.rs"]]);
    }

    #[test]
    fn a_circle_says_who_uses_what() {
        let files = [("a.rs", "use crate::b::B;"), ("b.rs", "fn f() { let _ = crate::a::A::new(); }")];
        let files: Files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        assert_eq!(circles(&files)[0].uses, ["a.rs uses b::B", "b.rs uses a::A::new"]);
    }
}
