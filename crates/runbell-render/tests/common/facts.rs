//! Compares two renderings of the same runs by what a reader learns from them, not by their markup.

use scraper::{ElementRef, Html, Node, Selector};

use runbell_core::Value;

/// What a table says of a run.
#[derive(Debug, Default)]
struct Row {
    uid: String,
    link: String,
    iteration: Option<String>,
    /// `Feb 03 03:58:06`.
    start: String,
    /// `2026-02-03 04:05:06`.
    end: String,
    state: String,
    error: String,
    kind: String,
    name: String,
    parameters: Vec<String>,
    results: Vec<String>,
}

fn select(css: &str) -> Selector {
    Selector::parse(css).expect("a selector")
}

fn first<'d>(within: ElementRef<'d>, css: &str) -> Option<ElementRef<'d>> {
    within.select(&select(css)).next()
}

/// The text of an element, its line breaks as such.
pub(crate) fn text_of(element: ElementRef<'_>) -> String {
    let mut out = String::new();
    for node in element.descendants() {
        match node.value() {
            Node::Text(text) => out.push_str(text),
            Node::Element(inner) if inner.name() == "br" => out.push('\n'),
            _ => {}
        }
    }
    out
}

/// A text without what renderings are free in: white space, and how what cannot be printed is written.
fn bare(text: &str) -> String {
    let free = |c: char| {
        c.is_whitespace() || !runbell_core::text::is_inert(c) || matches!(c, '\u{2400}'..='\u{2421}' | '\u{fffd}')
    };
    text.replace("\\n", "").replace("\\t", "").replace("\\r", "").chars().filter(|c| !free(*c)).collect()
}

/// MLRun's table: one column for each fact.
fn theirs(html: &str) -> Vec<Row> {
    let document = Html::parse_fragment(html);
    let root = document.root_element();
    let heads: Vec<String> = root.select(&select("thead th")).map(text_of).collect();
    root.select(&select("tbody > tr"))
        .map(|tr| {
            let cells: Vec<ElementRef<'_>> = tr.child_elements().collect();
            let cell = |name: &str| heads.iter().position(|head| head == name).map(|at| cells[at]);
            let text = |name: &str| cell(name).map(text_of).unwrap_or_default().trim().to_owned();
            let title = |name: &str| {
                let div = cell(name).and_then(|cell| first(cell, "div"));
                div.and_then(|div| div.attr("title")).unwrap_or_default().to_owned()
            };
            let leaves = |name: &str| {
                let all = cell(name).expect("a column");
                all.select(&select("div.dictlist, span.input-bundle-key")).map(text_of).collect()
            };
            let end = text("end");
            Row {
                uid: title("uid"),
                link: cell("uid")
                    .and_then(|cell| first(cell, "a"))
                    .and_then(|a| a.attr("href"))
                    .unwrap_or_default()
                    .to_owned(),
                iteration: cell("iter").map(|cell| text_of(cell).trim().to_owned()),
                start: text("start"),
                end: match end.len() {
                    10 => format!("{end} 00:00:00"),
                    _ if end == "NaT" => String::new(),
                    _ => end.chars().take(19).collect(),
                },
                state: text("state"),
                error: if text("state") == "error" { title("state") } else { String::new() },
                kind: text("kind"),
                name: text("name"),
                parameters: leaves("parameters"),
                results: leaves("results"),
            }
        })
        .collect()
}

/// The time a cell begins with, as MLRun writes starts.
fn month_and_time(text: &str) -> String {
    let at: jiff::civil::DateTime = text.get(..19).expect("a time").replacen(' ', "T", 1).parse().expect("a time");
    at.strftime("%b %d %H:%M:%S").to_string()
}

/// Our table: a run alone has a line for each fact, several have a row each.
fn ours(html: &str) -> Vec<Row> {
    let document = Html::parse_fragment(html);
    let root = document.root_element();
    let heads: Vec<String> = root.select(&select("thead th")).map(text_of).collect();
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let start = |text: &str| if text.is_empty() { String::new() } else { month_and_time(text) };
    let link = |of: ElementRef<'_>| first(of, "a").and_then(|a| a.attr("href")).unwrap_or_default().to_owned();
    let code =
        |of: ElementRef<'_>| first(of, "code").and_then(|code| code.attr("title")).unwrap_or_default().to_owned();
    if heads.is_empty() {
        let all: Vec<(String, ElementRef<'_>)> = root
            .select(&select("tbody > tr"))
            .map(|tr| (text_of(first(tr, "th").expect("a head")), first(tr, "td").expect("a cell")))
            .collect();
        if all.is_empty() {
            return Vec::new();
        }
        let cell = |name: &str| all.iter().find(|(head, _)| head == name).map(|(_, cell)| *cell);
        let text = |name: &str| cell(name).map(text_of).unwrap_or_default();
        let bold = |name: &str| cell(name).and_then(|cell| first(cell, "b")).map(text_of).unwrap_or_default();
        return vec![Row {
            uid: cell("uid").map(code).unwrap_or_default(),
            link: cell("Run").map(link).unwrap_or_default(),
            iteration: None,
            start: start(&text("Started")),
            end: text("Ended").chars().take(19).collect(),
            state: bold("State"),
            error: text("Error"),
            kind: text("Kind"),
            name: bold("Run"),
            parameters: lines(text("Parameters")),
            results: lines(text("Results")),
        }];
    }
    root.select(&select("tbody > tr"))
        .map(|tr| {
            let cells: Vec<ElementRef<'_>> = tr.child_elements().collect();
            let (run, said) = (cells[0], cells[1]);
            let facts = lines(text_of(run));
            let what = facts.get(1).cloned().unwrap_or_default();
            let (state, kind) = what.split_once(" · ").unwrap_or((&what, ""));
            let is_time = |text: &&String| text.get(4..5) == Some("-") && text.get(10..11) == Some(" ");
            let mut times = facts.iter().filter(is_time);
            let error =
                said.child_elements().find(|inner| inner.value().name() == "b").map(text_of).unwrap_or_default();
            let all = text_of(said);
            let (results, parameters) = match first(said, "i") {
                Some(_) => all.split_once("Parameters\n").expect("a line of its own"),
                None => (all.as_str(), ""),
            };
            Row {
                uid: code(run),
                link: link(run),
                iteration: facts.iter().find_map(|line| line.strip_prefix("iteration ")).map(str::to_owned),
                start: times.next().map(|text| start(text)).unwrap_or_default(),
                end: times.next().map(|text| text.chars().take(19).collect()).unwrap_or_default(),
                state: state.to_owned(),
                kind: kind.to_owned(),
                name: first(run, "b").map(text_of).unwrap_or_default(),
                parameters: lines(parameters.to_owned()),
                results: lines(results.to_owned()),
                error,
            }
        })
        .collect()
}

/// Whether run data holds what MLRun puts into its HTML unescaped: then only our own rendering can be read.
pub(crate) fn has_markup(input: &Value) -> bool {
    let json = input.to_json();
    json.contains(['<', '>', '&']) || json.contains("\\\"")
}

/// Where MLRun's HTML cannot be compared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leeway {
    /// Run data holds markup: values are compared by their names only.
    pub(crate) markup: bool,
    /// MLRun dropped the document's `kind` on the way; here a run is shown as it was handed in.
    pub(crate) kind: bool,
}

/// Fails unless our HTML says what MLRun's says, run by run.
#[track_caller]
pub(crate) fn same_facts(id: &str, our_html: &str, their_html: &str, leeway: Leeway) {
    let Leeway { markup, kind } = leeway;
    let (ours, theirs) = (ours(our_html), theirs(their_html));
    assert_eq!(ours.len(), theirs.len(), "{id}: {our_html}");
    for (our, their) in ours.iter().zip(&theirs) {
        let pairs = [
            ("uid", &our.uid, &their.uid),
            ("link", &our.link, &their.link),
            ("start", &our.start, &their.start),
            ("end", &our.end, &their.end),
            ("state", &our.state, &their.state),
            ("kind", &our.kind, &their.kind),
            ("name", &our.name, &their.name),
        ];
        for (what, our, their) in pairs.into_iter().filter(|(what, ..)| !(kind && *what == "kind")) {
            assert_eq!(our, their, "{id}: {what}");
        }
        assert_eq!(our.iteration, their.iteration, "{id}: iteration");
        if !markup {
            assert_eq!(bare(&our.error), bare(&their.error), "{id}: the error");
        }
        for (what, our, their) in
            [("parameters", &our.parameters, &their.parameters), ("results", &our.results, &their.results)]
        {
            // In order, and nothing between them but what is said of them.
            let all = bare(&our.concat());
            let mut rest = all.as_str();
            for leaf in their {
                let leaf = if markup { bare(leaf.split('=').next().unwrap_or_default()) } else { bare(leaf) };
                let at = rest.find(&leaf).unwrap_or_else(|| panic!("{id}: {what}: `{leaf}` is not in `{rest}`"));
                rest = &rest[at + leaf.len()..];
            }
        }
    }
}
