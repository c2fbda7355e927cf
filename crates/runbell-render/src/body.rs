//! The webhook's `override_body`: templates at every depth of a body, rendered per message.
//!
//! **Invariant:** a template that fails leaves its own text in the body, never half a rendering, and a note says so.

use std::fmt;

use runbell_core::{Map, Note, NoteCode, Value};
use runbell_jinja::{Fault, TemplateValue, Text, Variables};

/// The variables of a body's templates.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// `run`: the run itself, all of it.
    pub run: &'a TemplateValue,
    /// `runs`: the [`summaries`] of the run and, for a workflow, its steps.
    pub runs: &'a TemplateValue,
    /// `notification`: the notification, its secrets masked.
    pub notification: &'a TemplateValue,
    /// `message`: the composed text.
    pub message: &'a str,
    /// `severity`.
    pub severity: &'a str,
    /// `state`: the state that caused the message.
    pub state: &'a str,
    /// `project`.
    pub project: &'a str,
}

/// A compiled `override_body`: each text is parsed once, however many messages are rendered.
#[derive(Debug)]
pub struct Body(Node);

enum Node {
    /// No template inside.
    Plain(Value),
    Text(Box<TextNode>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

struct TextNode {
    /// Where the text stands, from `override_body` on.
    path: String,
    source: String,
    compiled: Result<Text, Fault>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body's texts may hold secrets, such as a token of the target.
        f.write_str(match self {
            Node::Plain(_) => "Plain",
            Node::Text(_) => "Text",
            Node::List(_) => "List",
            Node::Map(_) => "Map",
        })
    }
}

impl Body {
    /// Compiles every text that contains `{{`, `{%` or `{#`. Keys are never templates.
    pub fn compile(template: &Value) -> Body {
        Body(compile(template, &mut "override_body".to_owned()))
    }

    /// The body for one message, and a note for every text that could not be rendered and stays as it was written.
    pub fn render(&self, scope: &Scope<'_>) -> (Value, Vec<Note>) {
        let variables = Variables::new([
            ("run", scope.run.clone()),
            ("runs", scope.runs.clone()),
            ("notification", scope.notification.clone()),
            ("message", scope.message.into()),
            ("severity", scope.severity.into()),
            ("state", scope.state.into()),
            ("project", scope.project.into()),
        ]);
        let mut notes = Vec::new();
        (render(&self.0, &variables, &mut notes), notes)
    }

    /// The texts that cannot be compiled: each is sent as written for every message.
    pub fn faults(&self) -> Vec<BodyFault> {
        let mut found = Vec::new();
        faults(&self.0, &mut found);
        found
    }
}

fn compile(template: &Value, path: &mut String) -> Node {
    let length = path.len();
    let node = match template {
        Value::String(source) if Text::is_template(source) => Node::Text(Box::new(TextNode {
            path: path.clone(),
            source: source.clone(),
            compiled: Text::compile(source),
        })),
        Value::List(items) => Node::List(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    path.push_str(&format!("[{at}]"));
                    let node = compile(item, path);
                    path.truncate(length);
                    node
                })
                .collect(),
        ),
        Value::Map(map) => Node::Map(
            map.iter()
                .map(|(key, item)| {
                    path.push('.');
                    path.push_str(key);
                    let node = compile(item, path);
                    path.truncate(length);
                    (key.clone(), node)
                })
                .collect(),
        ),
        plain => Node::Plain(plain.clone()),
    };
    match node {
        // Without a template inside the whole branch is one plain value.
        Node::List(nodes) if nodes.iter().all(|node| matches!(node, Node::Plain(_))) => Node::Plain(template.clone()),
        Node::Map(nodes) if nodes.iter().all(|(_, node)| matches!(node, Node::Plain(_))) => {
            Node::Plain(template.clone())
        }
        node => node,
    }
}

/// A text of a body that is sent as it was written, and why.
///
/// Display is the note of reports and previews: the path, then [`message`](BodyFault::message).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyFault {
    /// The field that holds the text: `override_body.list[1]`.
    pub path: String,
    /// The fault of its template.
    pub fault: Fault,
}

impl BodyFault {
    /// The fault and its effect in words, without the path.
    pub fn message(&self) -> String {
        let at = self.fault.line.map(|line| format!(" at line {line}")).unwrap_or_default();
        format!("template error{at}: {}; sent as written", self.fault.message)
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

impl From<BodyFault> for Note {
    fn from(fault: BodyFault) -> Self {
        Note::new(NoteCode::TemplateFailed, fault.message()).at(fault.path)
    }
}

impl TextNode {
    fn failed(&self, fault: &Fault) -> BodyFault {
        BodyFault { path: self.path.clone(), fault: fault.clone() }
    }
}

fn render(node: &Node, variables: &Variables, notes: &mut Vec<Note>) -> Value {
    match node {
        Node::Plain(value) => value.clone(),
        Node::List(nodes) => Value::List(nodes.iter().map(|node| render(node, variables, notes)).collect()),
        Node::Map(nodes) => {
            Value::Map(nodes.iter().map(|(key, node)| (key.clone(), render(node, variables, notes))).collect())
        }
        Node::Text(text) => {
            let rendered =
                text.compiled.as_ref().map_err(Clone::clone).and_then(|compiled| compiled.evaluate(variables));
            Value::String(rendered.unwrap_or_else(|fault| {
                notes.push(text.failed(&fault).into());
                text.source.clone()
            }))
        }
    }
}

fn faults(node: &Node, found: &mut Vec<BodyFault>) {
    match node {
        Node::Plain(_) => {}
        Node::Text(text) => found.extend(text.compiled.as_ref().err().map(|fault| text.failed(fault))),
        Node::List(nodes) => nodes.iter().for_each(|node| faults(node, found)),
        Node::Map(nodes) => nodes.iter().for_each(|(_, node)| faults(node, found)),
    }
}

/// One run as `{{ runs }}` shows it: `project`, `name`, `host`, and `status` with `state` and then the error or, without
/// one, the results. Fields that the run lacks are left out.
pub fn summary(run: &Value) -> Value {
    let mut summary = Map::new();
    let mut status = Map::new();
    let take = |into: &mut Map, key: &str, path: &[&str]| {
        let found = run.at(path).filter(|value| **value != Value::Null);
        into.extend(found.map(|value| (key.to_owned(), value.clone())));
    };
    take(&mut summary, "project", &["metadata", "project"]);
    take(&mut summary, "name", &["metadata", "name"]);
    take(&mut summary, "host", &["metadata", "labels", "host"]);
    take(&mut status, "state", &["status", "state"]);
    for key in ["error", "results"] {
        if let Some(value) = run.at(&["status", key]).filter(|value| value.is_truthy()) {
            status.insert(key.to_owned(), value.clone());
            break;
        }
    }
    summary.insert("status".to_owned(), Value::Map(status));
    Value::Map(summary)
}

/// The list of [`summary`] that a body knows as `runs`.
pub fn summaries<'r>(runs: impl IntoIterator<Item = &'r Value>) -> Value {
    Value::List(runs.into_iter().map(summary).collect())
}
