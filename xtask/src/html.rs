//! The shared HTML as its readers see it: every fixture on a white and a dark screen, in a narrow window, and the way
//! GitHub shows comments, without styles of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cargo::{cargo_output, root};

/// Surroundings: their name, the kind of fragment they show, the window's width, and the page around it.
const SURROUNDINGS: [(&str, &str, u32, &str); 4] = [
    ("light", "mail", 900, "<body style='margin:16px;background:#fff;color:#111'>"),
    ("dark", "mail", 900, "<body style='margin:16px;background:#1b1b1d;color:#e8e8e8'><style>a{color:#8ab4f8}</style>"),
    ("narrow", "mail", 360, "<body style='margin:8px;background:#fff;color:#111'>"),
    (
        "github",
        "comment",
        900,
        "<style>body{margin:16px;background:#0d1117;color:#e6edf3;font:14px/1.5 sans-serif}a{color:#4493f8}\
         table{border-collapse:collapse;display:block;overflow:auto}td,th{border:1px solid #3d444d;padding:6px 13px}\
         code{background:#656c7633;border-radius:6px;padding:.2em .4em;font-size:85%}</style><body>",
    ),
];

pub(crate) fn html() -> Result<()> {
    let target = root().join("target/html");
    let folder = target.to_str().context("the path is no text")?.to_owned();
    let printed =
        cargo_output(&["run", "--quiet", "--locked", "-p", "runbell-render", "--example", "fixtures", "--", &folder])?;
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(name));
    for name in printed.lines() {
        let fragment = fs::read_to_string(target.join(name))?;
        for (surroundings, kind, width, page) in SURROUNDINGS {
            if !name.ends_with(&format!("-{kind}.html")) {
                continue;
            }
            // GitHub and GitLab drop inline styles.
            let shown = if surroundings == "github" { without_styles(&fragment) } else { fragment.clone() };
            let stem = name.trim_end_matches(".html");
            let file = target.join(format!("{stem}-{surroundings}.page.html"));
            fs::write(&file, format!("<!doctype html><meta charset=utf-8>{page}{shown}"))?;
            match chromium {
                Some(chromium) => picture(chromium, &file, width)?,
                None => println!("{}", file.display()),
            }
        }
    }
    if chromium.is_none() {
        println!("open these pages in a browser; with chromium installed they become pictures");
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn without_styles(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(" style=\"") {
        out.push_str(&rest[..at]);
        let value = &rest[at + 8..];
        rest = value.find('"').map_or("", |end| &value[end + 1..]);
    }
    out + rest
}

fn picture(chromium: &str, page: &Path, width: u32) -> Result<()> {
    let png = PathBuf::from(page.to_string_lossy().replace(".page.html", ".png"));
    let profile = root().join("target/html/profile");
    let done = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("--screenshot={}", png.display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !done.success() {
        bail!("{chromium} takes no picture of {}", page.display());
    }
    println!("{}", png.display());
    Ok(())
}
