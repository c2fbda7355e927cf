//! The house rules no lint knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::cargo::{cargo_output, root};
use crate::circles::{self, Files};
use crate::docs;
use crate::names::{self, Definitions};

/// No file above this many lines.
const LINES: usize = 800;

/// What may stand at the top level, beside dot-files.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "crates",
    "plugins",
    "rustfmt.toml",
    "target",
    "tests",
    "xtask",
];

/// Which of our crates each of our crates may use. Plugins are a class of their own.
const MAY_USE: &[(&str, &[&str])] = &[
    ("runbell-core", &[]),
    ("runbell-jinja", &["runbell-core"]),
    ("runbell-render", &["runbell-core", "runbell-jinja"]),
    ("runbell-http", &["runbell-core"]),
    ("runbell-store", &["runbell-core"]),
    ("runbell-runtime", &["runbell-core", "runbell-http", "runbell-jinja", "runbell-render", "runbell-store"]),
    ("runbell-server", &["runbell-core", "runbell-runtime", "runbell-store"]),
    ("runbell", &["runbell-core", "runbell-runtime", PLUGIN]),
    ("runbell-cli", &["runbell", "runbell-http", "runbell-server", "runbell-store"]),
    ("runbell-testkit", &["runbell-core", "runbell-store"]),
    (PLUGIN, &["runbell-core", "runbell-http", "runbell-render"]),
    (
        "runbell-tests",
        &["runbell", "runbell-cli", "runbell-core", "runbell-runtime", "runbell-store", "runbell-testkit"],
    ),
    ("xtask", &[]),
];

const PLUGIN: &str = "a plugin";

/// Crates that must not come in through a facade with nothing but `console`.
const HEAVY: &[&str] =
    &["hyper", "reqwest", "rustls", "aws-lc-sys", "ring", "rusqlite", "sqlx", "openssl-sys", "native-tls"];

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: String) {
        self.0.push(finding);
    }
}

pub(crate) fn tidy() -> Result<()> {
    println!("── tidy");
    let metadata = MetadataCommand::new().current_dir(root()).other_options(vec!["--locked".to_owned()]).exec()?;
    let mut found = Findings::default();
    top_level(&mut found)?;
    folders(&metadata, &mut found);
    direction(&metadata, &mut found);
    plugins(&metadata, &mut found)?;
    file_sizes(&root(), &mut found)?;
    dependencies(&mut found)?;
    sources(&metadata, &mut found)?;
    if let Err(error) = docs::docs(true) {
        found.add(format!("{error:#}"));
    }
    if found.0.is_empty() {
        return Ok(());
    }
    for finding in &found.0 {
        eprintln!("tidy: {finding}");
    }
    bail!("{} findings", found.0.len())
}

fn top_level(found: &mut Findings) -> Result<()> {
    for entry in fs::read_dir(root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) {
            found.add(format!("{name}: does not belong at the top level; move it below a crate"));
        }
    }
    Ok(())
}

fn folder(package: &Package) -> &str {
    package.manifest_path.parent().and_then(|folder| folder.file_name()).unwrap_or_default()
}

fn is_plugin(package: &Package) -> bool {
    package.manifest_path.components().any(|part| part.as_str() == "plugins")
}

fn folders(metadata: &Metadata, found: &mut Findings) {
    for package in metadata.workspace_packages() {
        let expected = if package.name.as_str() == "runbell-tests" { "tests" } else { package.name.as_str() };
        if folder(package) != expected {
            found
                .add(format!("{}: package `{}` must lie in a folder of its name", package.manifest_path, package.name));
        }
        let manifest = fs::read_to_string(&package.manifest_path).unwrap_or_default();
        if !manifest.contains("[lints]\nworkspace = true") {
            found.add(format!("{}: add `[lints]` with `workspace = true`", package.manifest_path));
        }
    }
}

fn direction(metadata: &Metadata, found: &mut Findings) {
    let ours = metadata.workspace_packages();
    let class = |name: &str| -> String {
        let plugin = ours.iter().any(|package| package.name.as_str() == name && is_plugin(package));
        if plugin { PLUGIN.to_owned() } else { name.to_owned() }
    };
    for package in &ours {
        let name = class(&package.name);
        let Some((_, allowed)) = MAY_USE.iter().find(|(of, _)| *of == name) else {
            found.add(format!("{}: say in xtask's tidy which crates it may use", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal) {
            let used = class(&dependency.name);
            let is_ours = ours.iter().any(|package| package.name.as_str() == dependency.name);
            if is_ours && !allowed.contains(&used.as_str()) {
                found.add(format!(
                    "{}: must not depend on {}; dependencies point one way",
                    package.name, dependency.name
                ));
            }
        }
    }
}

fn plugins(metadata: &Metadata, found: &mut Findings) -> Result<()> {
    let facade = root().join("crates/runbell");
    let (manifest, library) =
        (fs::read_to_string(facade.join("Cargo.toml"))?, fs::read_to_string(facade.join("src/lib.rs"))?);
    let readme = fs::read_to_string(root().join("README.md"))?;
    for package in metadata.workspace_packages().into_iter().filter(|package| is_plugin(package)) {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        let kind = package.name.trim_start_matches("runbell-").to_owned();
        for (path, why) in [
            ("README.md".to_owned(), "documents every param"),
            (format!("examples/{kind}.rs"), "shows it at work"),
            ("tests/contract.rs".to_owned(), "proves the contract"),
        ] {
            if !folder.join(&path).exists() {
                found.add(format!("{}: add {path}, which {why}", package.name));
            }
        }
        let module = package.name.replace('-', "_");
        if !manifest.contains(&format!("{kind} = [\"dep:{}\"]", package.name)) {
            found.add(format!("{}: add the feature `{kind}` to the facade", package.name));
        }
        if !library.contains(&format!("&{module}::REGISTRATION")) {
            found.add(format!("{}: name {module}::REGISTRATION in the facade's BUILTINS", package.name));
        }
        if !readme.contains(&format!("| [`{kind}`]")) {
            found.add(format!("{}: run `cargo xtask docs`; the README's table of kinds lacks it", package.name));
        }
    }
    Ok(())
}

fn file_sizes(folder: &Path, found: &mut Findings) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "target" || name == ".git" || name == "vectors" {
            continue;
        }
        if path.is_dir() {
            file_sizes(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            let lines = fs::read_to_string(&path)?.lines().count();
            if lines > LINES {
                found.add(format!("{}: has {lines} lines; split it below {LINES}", path.display()));
            }
        }
    }
    Ok(())
}

fn dependencies(found: &mut Findings) -> Result<()> {
    let tree = cargo_output(&[
        "tree",
        "-p",
        "runbell",
        "--no-default-features",
        "--features",
        "console",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--locked",
    ])?;
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for heavy in HEAVY.iter().filter(|heavy| names.contains(**heavy)) {
        found.add(format!("runbell with only `console` depends on {heavy}; it must not"));
    }
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    for rejected in ["openssl-sys", "native-tls"] {
        if lock.contains(&format!("name = \"{rejected}\"")) {
            found.add(format!("Cargo.lock holds {rejected}; TLS is rustls here"));
        }
    }
    Ok(())
}

/// Circles between files, and type names that two crates define.
fn sources(metadata: &Metadata, found: &mut Findings) -> Result<()> {
    let mut definitions = Definitions::new();
    for package in metadata.workspace_packages() {
        let (name, mut files) = (package.name.as_str(), Files::new());
        let folder = package.manifest_path.with_file_name("src");
        collect(folder.as_std_path(), "", &mut files)?;
        for circle in circles::circles(&files) {
            let (files, uses) = (circle.files.join(", "), circle.uses.join("; "));
            let finding = format!(
                "{name}: {files} use each other in a circle ({uses}); move what several of them use into a file below them"
            );
            found.add(finding);
        }
        if name != "xtask" && name != "runbell-tests" {
            files.iter().for_each(|(file, text)| names::collect(name, file, text, &mut definitions));
        }
    }
    for (name, by) in names::shared(&definitions) {
        let places: Vec<String> = by.iter().map(|(package, file)| format!("{package}/src/{file}")).collect();
        let finding =
            format!("{name}: is the name of different public types ({}); rename all but one", places.join(", "));
        found.add(finding);
    }
    Ok(())
}

/// The Rust files below a folder, by their paths from there.
fn collect(folder: &Path, below: &str, files: &mut Files) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{below}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if name.ends_with(".rs") {
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
